"""Boxes in the model's output, hostile output included."""

from hypothesis import given
from hypothesis import strategies as st

from optical_memory.model.grounding import Box, Grounded, parse, strip

OUTPUT = (
    "<|ref|>title<|/ref|><|det|>[[0, 0, 999, 99]]<|/det|>\n# Oslo\n\n"
    "<|ref|>text<|/ref|><|det|>[[10, 20, 500, 300], [510,20,999,999]]<|/det|>\nFlights leave daily.\n"
)


def test_boxes_are_scaled_to_the_image() -> None:
    first, second = parse(OUTPUT, (1998, 999))
    assert first == Grounded(label="title", boxes=(Box(left=0, top=0, right=1998, bottom=99),), text="# Oslo")
    assert second.boxes == (
        Box(left=20, top=20, right=1000, bottom=300),
        Box(left=1020, top=20, right=1998, bottom=999),
    )
    assert second.text == "Flights leave daily."


def test_strip_leaves_the_text() -> None:
    assert strip(OUTPUT) == "# Oslo\n\n\nFlights leave daily."


def test_malformed_boxes_are_left_out() -> None:
    for det in ("[[1, 2, 3]]", "[[-1, 2, 3, 4]]", "[[1000000, 2, 3, 4]]", "[[9, 9, 1, 1]]", "__import__('os')", ""):
        (part,) = parse(f"<|ref|>x<|/ref|><|det|>{det}<|/det|>tail", (100, 100))
        assert part.boxes == ()
        assert part.text == "tail"


def test_a_label_without_its_box_takes_no_other_box() -> None:
    output = "<|ref|>lost<|/ref|> words <|ref|>kept<|/ref|><|det|>[[1, 1, 2, 2]]<|/det|>"
    (part,) = parse(output, (999, 999))
    assert part.label == "kept"
    assert part.boxes == (Box(left=1, top=1, right=2, bottom=2),)
    assert strip(output) == "lost words"


def test_a_label_that_opens_twice_belongs_to_the_last() -> None:
    (part,) = parse("<|ref|>a<|ref|>b<|/ref|><|det|>[[1,1,2,2]]<|/det|>", (10, 10))
    assert part.label == "b"


def test_repetition_loops_take_bounded_boxes() -> None:
    for piece in ("<|ref|>", "<|ref|>a<|/ref|>", "<|ref|>a<|/ref|><|det|>", "[[1,1,2,2],", "<|ref|>a<|/ref|><|det|>["):
        parse(piece * 20_000, (10, 10))
    many = "<|ref|>a<|/ref|><|det|>[" + "[1,1,2,2]," * 9_000 + "]<|/det|>"
    assert sum(len(part.boxes) for part in parse(many * 2, (10, 10))) == 10_000


PIECES = st.sampled_from(["<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "[[1, 2, 3, 4]]", "x", "\x00"])


@given(st.lists(PIECES).map("".join))
def test_any_output_is_taken(output: str) -> None:
    for part in parse(output, (640, 480)):
        assert all(0 <= box.left <= box.right <= 640 and 0 <= box.top <= box.bottom <= 480 for box in part.boxes)
    assert "<|ref|>" not in strip(output)
