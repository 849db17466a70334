// What an accessibility checker would look for, run in the page: names, labels, order of headings, contrast, targets.
(() => {
  const problems = [];
  const seen = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !element.closest(".unseen");
  const all = (selector) => [...document.querySelectorAll(selector)];
  const tell = (what, element) => problems.push(`${what}: ${element.outerHTML.slice(0, 120)}`);

  if (!document.documentElement.lang) problems.push("the page has no language");
  if (!document.title) problems.push("the page has no title");
  if (all("main").length !== 1) problems.push("there is not one main");
  if (all("h1").filter((each) => each.checkVisibility()).length !== 1) problems.push("there is not one h1");
  let level = 0;
  for (const heading of all("h1, h2, h3, h4").filter((each) => each.checkVisibility() && !each.closest("dialog"))) {
    const now = Number(heading.tagName[1]);
    if (now > level + 1 && level) tell(`heading jumps from ${level} to ${now}`, heading);
    level = now;
  }
  const ids = all("[id]").map((each) => each.id);
  for (const id of new Set(ids.filter((one, place) => ids.indexOf(one) !== place))) problems.push(`id twice: ${id}`);
  for (const image of all("img")) if (!image.hasAttribute("alt")) tell("no alt", image);
  for (const image of all("svg")) if (image.getAttribute("role") === "img" && !image.getAttribute("aria-label")) tell("no label", image);
  const name = (element) => (element.getAttribute("aria-label") ?? "") + [...(element.labels ?? [])].map((each) => each.textContent).join("") + element.textContent + [...element.querySelectorAll("img, svg")].map((each) => each.alt ?? each.getAttribute("aria-label") ?? "").join("");
  for (const control of all("a, button, input, select, [role=tab]")) if (!name(control).trim()) tell("no name", control);
  for (const name of ["aria-labelledby", "aria-describedby", "aria-controls"]) {
    for (const element of all(`[${name}]`)) if (!document.getElementById(element.getAttribute(name))) tell(`${name} names nothing`, element);
  }
  for (const box of all("*")) {
    const style = getComputedStyle(box);
    const scrolls = /auto|scroll/.test(style.overflowX + style.overflowY) && (box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1);
    if (scrolls && seen(box) && box.tabIndex < 0 && !box.querySelector("button, a, input") && box !== document.documentElement && box !== document.body) tell("scrolls but not by keyboard", box);
  }

  const channels = (colour) => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map((each) => each / 255).map((each) => (each <= 0.03928 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)).reduce((sum, each, place) => sum + each * [0.2126, 0.7152, 0.0722][place], 0);
  const known = new Map();
  const lightness = (colour) => known.get(colour) ?? known.set(colour, [light(channels(colour)), channels(colour)[3]]).get(colour);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (lightness(colour)[1] > 200) return colour;
    }
    return "white";
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const told = new Set();
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !seen(element) || element.closest(":disabled, svg, .over, noscript")) continue;
    const style = getComputedStyle(element);
    const [one, other] = [lightness(style.color)[0], lightness(behind(element))[0]];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.6 && Number(style.fontWeight) >= 600);
    const key = `${style.color} ${behind(element)}`;
    if (ratio < (large ? 3 : 4.5) && !told.has(key)) {
      told.add(key);
      tell(`contrast ${ratio.toFixed(2)} (${key})`, element);
    }
  }
  for (const control of all("button, select, input:not([type=radio], [type=checkbox])").filter((each) => seen(each))) {
    const box = control.getBoundingClientRect();
    if (box.width && (box.height < 24 && !control.closest(".changes, .piece")) ) tell(`target ${Math.round(box.width)}×${Math.round(box.height)}`, control);
  }
  return problems;
})()
