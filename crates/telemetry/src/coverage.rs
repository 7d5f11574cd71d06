//! What a service's SLOs do not see of its usual requests.

use std::collections::BTreeMap;

use airboss_judge::coverage::{self, BlindSpot};
use airboss_model::manifest::Service;
use airboss_model::route::{OTHER, RoutePattern};

use crate::Forecast;

/// A history of fewer requests says nothing of what is never asked for.
const ENOUGH: u64 = 1_000;

/// Whether an SLO counts requests of a route, and whether one counts them and little else. A
/// service without SLOs is judged by all its server errors.
pub fn covered(service: &Service, route: &str) -> (bool, bool) {
    let slos = &service.spec.slos;
    let own = slos.iter().any(|slo| {
        let mut patterns = slo.routes.iter();
        patterns.any(|pattern: &RoutePattern| pattern.covers(route))
    });
    let whole = slos.is_empty() || slos.iter().any(|slo| slo.routes.is_empty());
    (own || whole, own)
}

/// What the SLOs of a manifest do not see, by how often each route was asked for. `steps` say
/// what is found at the usual traffic; empty where that is not known.
pub fn blind_spots(
    service: &Service,
    routes: &BTreeMap<String, u64>,
    steps: &[Forecast],
) -> Vec<BlindSpot> {
    let asked: u64 = routes.values().sum();
    let silent: Vec<&str> = service
        .spec
        .slos
        .iter()
        .filter(|slo| asked >= ENOUGH && !slo.routes.is_empty())
        .filter(|slo| {
            let mut patterns = slo.routes.iter();
            !patterns.any(|pattern| routes.keys().any(|route| pattern.covers(route)))
        })
        .map(|slo| slo.name.as_str())
        .collect();
    // A promise of speed says nothing of answers that fail at once.
    let counts_failures = |name: &str| {
        let mut slos = service.spec.slos.iter();
        slos.find(|slo| slo.name == name)
            .is_none_or(|slo| slo.under.is_none() && slo.routes.is_empty())
    };
    let found = steps
        .iter()
        .flat_map(|step| &step.finds)
        .filter(|(name, _)| counts_failures(name))
        .filter_map(|(_, found)| *found)
        .reduce(f64::min);
    // What has no route of its own is mostly what does not exist; no SLO could name it.
    let named = |route: &str| match route {
        OTHER => (true, true),
        route => covered(service, route),
    };
    coverage::blind_spots(routes, named, &silent, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(slos: serde_json::Value) -> Service {
        serde_json::from_value(json!({
            "metadata": { "name": "checkout" },
            "spec": { "target": { "process": { "command": ["x"], "listen": "127.0.0.1:1" } }, "slos": slos }
        }))
        .unwrap()
    }

    fn told(slos: serde_json::Value) -> Vec<String> {
        let routes = [
            ("GET /", 9_000),
            ("POST /pay", 1_000),
            ("GET /old", 1),
            (OTHER, 15),
        ]
        .map(|(route, count)| (route.to_owned(), count))
        .into();
        let spots = blind_spots(&service(slos), &routes, &[]);
        spots.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_slo_for_all_routes_covers_them_and_one_for_some_leaves_the_others_bare() {
        let all = json!({ "name": "all", "objective": "99%", "bad": "status >= 500" });
        let pay = json!({ "name": "pay", "objective": "99%", "bad": "status >= 500", "routes": ["POST /pay"] });
        let gone = json!({ "name": "gone", "objective": "99%", "bad": "status >= 500", "routes": ["POST /gone"] });
        assert_eq!(told(json!([])), [] as [String; 0]);
        assert_eq!(told(json!([all])), [] as [String; 0]);
        let bare = told(json!([pay]));
        assert_eq!(
            bare,
            ["`GET /` gets 90 % of the requests and no SLI covers it"]
        );
        let silent = told(json!([all, gone]));
        assert!(
            silent[0].starts_with("`gone` is declared but has no data"),
            "{silent:?}"
        );
    }
}
