//! What outlives a reload.
//!
//! A reload sets all plugins up anew. What took long to get, like the objects of a cluster, need not be got again if the new configuration asks
//! for the same: who sets it up finds it here under a name that says all that it depends on. It ends with the last
//! configuration that uses it.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Values by name, for as long as somebody uses them.
#[derive(Default)]
pub struct Lasting(Mutex<HashMap<String, Weak<dyn Any + Send + Sync>>>);

impl Lasting {
    /// The value with this name and type that a configuration uses already, or else a new one.
    pub fn get_or_make<T: Any + Send + Sync>(
        &self,
        name: &str,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, value| value.strong_count() > 0);
        let found = kept.get(name).and_then(Weak::upgrade).and_then(|value| value.downcast().ok());
        found.unwrap_or_else(|| {
            let value = Arc::new(make());
            let shared: Arc<dyn Any + Send + Sync> = Arc::clone(&value) as _;
            kept.insert(name.to_owned(), Arc::downgrade(&shared));
            value
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lasts_as_long_as_it_is_used() {
        let lasting = Lasting::default();
        let first = lasting.get_or_make("a", || 1);
        let second = lasting.get_or_make("a", || 2);
        assert_eq!((*first, *second), (1, 1));
        assert_eq!(*lasting.get_or_make("b", || 3), 3);
        drop((first, second));
        assert_eq!(*lasting.get_or_make("a", || 4), 4);
        assert!(lasting.0.lock().unwrap().len() <= 2);
    }

    #[test]
    fn another_type_is_another_value() {
        let lasting = Lasting::default();
        let number = lasting.get_or_make("a", || 1_u8);
        let text = lasting.get_or_make("a", || "one");
        assert_eq!((*number, *text), (1, "one"));
    }
}
