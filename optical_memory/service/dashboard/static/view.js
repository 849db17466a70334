// A view: one session, as one model sees it, within a budget.

export function view(state) {
  return { session: state.session, profile: state.profile, budget: state.budget };
}
