/// Which of the two stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Positive answers and referrals.
    Success,
    /// Negative answers and server errors.
    Denial,
}

impl Side {
    pub(super) const BOTH: [Side; 2] = [Side::Success, Side::Denial];

    /// The word in the Corefile and the value of the metric label `type`.
    pub(super) fn label(self) -> &'static str {
        match self {
            Side::Success => "success",
            Side::Denial => "denial",
        }
    }
}
