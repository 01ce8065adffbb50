//! What browsers are told about other origins, with the semantics of the reference server's `cors` option.

use crate::config::CorsConfig;

/// Headers for every answer to a request from `origin`; none while no origin is configured.
///
/// Source: Engine.IO reference, CORS.
pub(crate) fn headers(config: &CorsConfig, origin: Option<&str>) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    if config.origins.is_empty() {
        return headers;
    }
    if config.allows_any() {
        headers.push(("Access-Control-Allow-Origin", "*".to_owned()));
    } else {
        if let Some(origin) = origin.filter(|origin| config.allows(origin)) {
            headers.push(("Access-Control-Allow-Origin", origin.to_owned()));
        }
        headers.push(("Vary", "Origin".to_owned()));
    }
    if config.credentials {
        headers.push(("Access-Control-Allow-Credentials", "true".to_owned()));
    }
    headers
}

/// Headers of the answer to a preflight that asks for `requested` headers, beside [`headers`].
pub(crate) fn preflight_headers(config: &CorsConfig, requested: Option<&str>) -> Vec<(&'static str, String)> {
    let mut headers = vec![("Access-Control-Allow-Methods", config.methods.join(","))];
    if !config.headers.is_empty() {
        headers.push(("Access-Control-Allow-Headers", config.headers.join(",")));
    } else {
        headers.push(("Vary", "Access-Control-Request-Headers".to_owned()));
        headers.extend(requested.map(|requested| ("Access-Control-Allow-Headers", requested.to_owned())));
    }
    headers.extend(config.max_age_s.map(|age| ("Access-Control-Max-Age", age.to_string())));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(origins: &[&str], credentials: bool) -> CorsConfig {
        let origins = origins.iter().map(ToString::to_string).collect();
        CorsConfig { origins, credentials, ..CorsConfig::default() }
    }

    #[test]
    fn origins_are_echoed_starred_or_left_out() {
        let good = "https://good.example";
        let (allow, vary) = ("Access-Control-Allow-Origin", ("Vary", "Origin".to_owned()));
        for (origins, origin, expected) in [
            (&[][..], Some(good), vec![]),
            (&["*"], Some(good), vec![(allow, "*".to_owned())]),
            (&["*"], None, vec![(allow, "*".to_owned())]),
            (&[good], Some(good), vec![(allow, good.to_owned()), vary.clone()]),
            (&[good], Some("https://evil.example"), vec![vary.clone()]),
            (&[good], None, vec![vary.clone()]),
        ] {
            assert_eq!(headers(&config(origins, false), origin), expected, "{origins:?} {origin:?}");
        }
    }

    #[test]
    fn credentials_are_allowed_whatever_the_origin() {
        let headers = headers(&config(&["https://good.example"], true), Some("https://evil.example"));
        assert!(headers.contains(&("Access-Control-Allow-Credentials", "true".to_owned())));
    }

    #[test]
    fn a_preflight_echoes_the_headers_it_asks_for_unless_some_are_listed() {
        let echoed = preflight_headers(&config(&["*"], false), Some("x-token"));
        assert!(
            echoed.contains(&("Access-Control-Allow-Methods", "GET,HEAD,PUT,PATCH,POST,DELETE".to_owned()))
        );
        assert!(echoed.contains(&("Access-Control-Allow-Headers", "x-token".to_owned())));
        let listed = CorsConfig { headers: vec!["x-a".into()], ..config(&["*"], false) };
        assert!(
            preflight_headers(&listed, Some("x-token"))
                .contains(&("Access-Control-Allow-Headers", "x-a".to_owned()))
        );
    }
}
