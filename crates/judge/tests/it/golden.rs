//! Numbers that were computed elsewhere.

use airboss_judge::{Margin, Rate, ratio};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vector {
    nc: u64,
    xc: u64,
    nb: u64,
    xb: u64,
    pc1: f64,
    pb1: f64,
    rho: f64,
    delta: f64,
    p_star: f64,
    log_e: f64,
}

#[test]
fn the_tick_e_value_agrees_with_400_vectors_to_nine_digits() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("golden_loge.json")).unwrap();
    assert_eq!(vectors.len(), 400);
    for v in vectors {
        let margin = Margin {
            rho: v.rho,
            delta: v.delta,
        };
        let (_, p) = ratio::project(v.nc as f64, v.nb as f64, v.pc1, v.pb1, margin).unwrap();
        let canary = Rate {
            bad: v.xc,
            requests: v.nc,
        };
        let baseline = Rate {
            bad: v.xb,
            requests: v.nb,
        };
        let log_e = ratio::log_e(canary, baseline, v.pc1, v.pb1, margin);
        assert!((p - v.p_star).abs() < 1e-9, "p* {p} against {}", v.p_star);
        assert!(
            (log_e - v.log_e).abs() < 1e-9 * v.log_e.abs().max(1.0),
            "ln e {log_e} against {}",
            v.log_e
        );
    }
}
