//! The page for people. It is one file: nothing is loaded from elsewhere, and a browser is told to run and show nothing else.

use super::server::Answer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::sync::Arc;

const HTML: &str = include_str!("page/page.html");
const SCRIPT: &str = include_str!("page/page.js");
const STYLE: &str = include_str!("page/page.css");

pub(super) struct Page {
    html: String,
    policy: Arc<str>,
}

impl Page {
    pub(super) fn new() -> Self {
        let html = HTML.replace("/* style */", STYLE).replace("/* script */", SCRIPT);
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
            hash(SCRIPT),
            hash(STYLE)
        );
        Self { html, policy: policy.into() }
    }

    pub(super) fn answer(&self) -> Answer {
        Answer::new(200, "text/html; charset=utf-8", self.html.as_str()).with_policy(&self.policy)
    }
}

fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}
