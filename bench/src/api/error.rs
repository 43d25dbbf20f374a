//! What the API server says when it cannot do what it was asked.

use serde_json::json;

/// An error as the API server words it.
pub(super) fn status(code: u16, reason: &str, message: &str) -> String {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": message })
        .to_string()
}
