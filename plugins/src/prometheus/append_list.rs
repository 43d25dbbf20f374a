use std::sync::OnceLock;

/// A list that only grows, read and extended without a lock: a handful of values that are nearly always there already.
pub(super) struct AppendList<T> {
    head: Link<T>,
}

type Link<T> = OnceLock<Box<Node<T>>>;

struct Node<T> {
    value: T,
    next: Link<T>,
}

impl<T> AppendList<T> {
    pub(super) fn new() -> AppendList<T> {
        AppendList { head: OnceLock::new() }
    }

    /// The first value that `is_it` says yes to. Without one, the value of `make` is added and becomes it.
    pub(super) fn find_or_add(&self, is_it: impl Fn(&T) -> bool, make: impl Fn() -> T) -> &T {
        let mut link = &self.head;
        loop {
            // Two threads may come to the end at once: one of them adds, the other sees that and walks on.
            let node = link.get_or_init(|| Box::new(Node { value: make(), next: OnceLock::new() }));
            if is_it(&node.value) {
                return &node.value;
            }
            link = &node.next;
        }
    }
}
