//! Manifests as people write them, and what they are told.

use super::*;

fn checked(text: &str, output: Output) -> (ExitCode, String, String) {
    let args = CheckArgs {
        file: "-".into(),
        rate: None,
        offline: false,
        output,
    };
    answered(&args, &|_| Told::default(), text)
}

fn answered(args: &CheckArgs, ask: &Ask, text: &str) -> (ExitCode, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(args, ask, &mut text.as_bytes(), &mut out, &mut err).unwrap();
    let string = |bytes| String::from_utf8(bytes).unwrap();
    (code, string(out), string(err))
}

const GOOD: &str = r#"apiVersion: airboss/v1
kind: Service
metadata: { name: checkout, owner: payments, tier: critical }
spec:
  target:
    process:
      command: ["{artifact}/checkout", "--port", "{port}", "--greet", "good day"]
      instances: 2
      listen: 127.0.0.1:8080
      health: { http: /healthz, ready_within: 10s }
      env: { LOG_LEVEL: info }
      sticky: { cookie: arm }
      force_header: x-arm
  slos:
    - { name: availability, objective: 99.9%, bad: "status >= 500" }
    - { name: latency, objective: 99%, under: 250ms, critical: false }
  rollout:
    canary: { steps: [1%, 10%, 50%, 100%], bake: 2m, at_most: 20m, mirror: 5% }
"#;

#[test]
fn a_good_manifest_is_explained_in_words() {
    let (code, out, err) = checked(GOOD, Output::Text);
    assert_eq!((code, err.as_str()), (ExitCode::SUCCESS, ""));
    insta::assert_snapshot!(out);
    assert!(out.lines().count() < 24, "less than a screen");
}

#[test]
fn margins_chances_and_what_there_should_be_more_of_are_explained_in_words() {
    let slos = r#"  judge: { alpha: 0.5%, harm_budget: 0.2% }
  guardrails:
    - { name: queue, gauge: 'depth{queue="mail"}', margin: 1.2x + 5, alpha: 0.1% }
    - { name: hits, share: hits_total, of: lookups_total, better: higher, advisory: true }
  slos:
    - { name: orders, objective: 2%, good: "status == 201", routes: [ POST /order ], margin: { fail: 0.9x } }
    - { name: availability, objective: 99.9%, bad: "status >= 500", margin: { fail: 1.5x + 0.05%, pass: 2x + 0.1% }, alpha: 0.2%, beta: 2%, harm_budget: 0.05% }
"#;
    let text = GOOD.replace("  slos:\n", slos);
    let text = text.replacen(
        "    - { name: availability, objective: 99.9%, bad: \"status >= 500\" }\n",
        "",
        1,
    );
    let (code, out, err) = checked(&text, Output::Text);
    assert_eq!((code, err.as_str()), (ExitCode::SUCCESS, ""));
    let promises: Vec<&str> = out
        .lines()
        .skip_while(|line| !line.contains("Promises"))
        .take(6)
        .map(str::trim)
        .collect();
    insta::assert_snapshot!(promises.join("\n"));
}

#[test]
fn a_refused_manifest_answers_on_stderr_with_code_2() {
    let (code, out, err) = checked(&GOOD.replace("instances", "instanses"), Output::Text);
    assert_eq!((code, out.as_str()), (Exit::Usage.into(), ""));
    assert!(
        err.starts_with("<stdin>:8:7: unknown field `instanses`"),
        "{err}"
    );
    assert!(err.ends_with("<stdin> is refused: 1 finding\n"), "{err}");
}

#[test]
fn programs_get_the_same_findings_as_people() {
    let (code, out, err) = checked(&GOOD.replace("99.9%", "99.9"), Output::Json);
    assert_eq!((code, err.as_str()), (Exit::Usage.into(), ""));
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(answer["ok"], false);
    assert_eq!(answer["diagnostics"][0]["line"], 15);
    assert_eq!(answer["diagnostics"][0]["severity"], "error");
    let (code, out, _) = checked(GOOD, Output::Json);
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, ExitCode::SUCCESS);
    assert_eq!(answer["documents"][0]["name"], "checkout");
}

#[test]
fn at_a_known_traffic_each_step_says_how_long_it_takes_and_what_it_finds() {
    let answer = |rate: &str, output| {
        let args = CheckArgs {
            file: "-".into(),
            rate: Some(crate::commands::rate(rate).unwrap()),
            offline: false,
            output,
        };
        answered(&args, &|_| Told::default(), GOOD).1
    };
    let busy = answer("500/s", Output::Text);
    assert!(busy.contains("  Expects   1%: about "), "{busy}");
    assert!(
        busy.contains("10%: about ") && busy.contains("finds availability"),
        "{busy}"
    );
    assert!(!busy.contains("synthetic"), "{busy}");
    assert!(answer("0.2", Output::Text).contains("synthetic load"));
    let json: serde_json::Value = serde_json::from_str(&answer("500", Output::Json)).unwrap();
    assert_eq!(json["documents"][0]["forecast"][2]["weight"], "50%");
    for wrong in ["", "fast", "-1", "NaN", "1e300"] {
        assert!(crate::commands::rate(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_server_at_hand_tells_the_usual_traffic_and_what_no_slo_sees() {
    let told = |service: &Service| {
        assert_eq!(service.metadata.name.as_str(), "checkout");
        let traffic = serde_json::from_value(serde_json::json!({
            "service": "checkout", "environment": "production", "requests_per_second": 480.0,
            "usual": { "availability": 0.0004 }, "history_seconds": 900, "slos": [{
                "slo": "availability", "objective": 0.999, "fit": "not_reachable", "requests": 10_000,
                "bad": 40, "proposed": 0.99, "reason": "usually 0.4 % are bad" }],
            "routes": { "GET /": 90_000, "POST /pay": 10_000, "GET /export": 150 },
        }))
        .ok();
        Told {
            traffic,
            newest: None,
        }
    };
    let mut args = CheckArgs {
        file: "-".into(),
        rate: None,
        offline: false,
        output: Output::Text,
    };
    let bare = GOOD.replace(
        "bad: \"status >= 500\"",
        "bad: \"status >= 500\", routes: [POST /pay]",
    );
    let bare = bare.replace("under: 250ms", "under: 250ms, routes: [GET /export]");
    insta::assert_snapshot!("check_with_a_server", answered(&args, &told, &bare).1);
    args.offline = true;
    assert!(!answered(&args, &told, &bare).1.contains("Expects"));
}

#[test]
fn a_missing_manifest_says_how_to_get_one() {
    let folder = tempfile::tempdir().unwrap();
    let args = CheckArgs {
        file: folder.path().to_owned(),
        rate: None,
        offline: true,
        output: Output::Text,
    };
    let error = run(
        &args,
        &|_| Told::default(),
        &mut std::io::empty(),
        &mut std::io::sink(),
        &mut std::io::sink(),
    );
    let error = format!("{:#}", error.unwrap_err());
    assert!(error.contains("airboss init"), "{error}");
    assert!(error.contains(MANIFEST), "{error}");
}

#[test]
fn what_is_required_is_told_with_how_to_hand_it_in_and_what_is_there() {
    let text = GOOD.replace(
        "canary: {",
        "require: [signed, provenance, tests, { scan: { max: medium, age: 3d } }, sbom]\n    canary: {",
    );
    let item = |name: &str, state: &str, reason: &str, remedy: Option<&str>| serde_json::json!({ "name": name, "state": state, "reason": reason, "remedy": remedy });
    let ask = |service: &Service| {
        assert_eq!(service.spec.rollout.require.len(), 5);
        let add = "airboss artifact add --service checkout --version 1.4.0";
        let newest = serde_json::json!({
            "id": "checkout@1.4.0", "digest": "sha256:ab", "size": null, "by": "ci",
            "at": "2026-03-02T12:00:00Z", "fields": [], "missing": [], "attestations": [],
            "required": [
                item("tests", "passed", "2 tests passed", None),
                item("signed", "missing", "nothing that is known of the artifact is signed", Some(&format!("{add} --attestation FILE"))),
            ],
        });
        Told {
            traffic: None,
            newest: Some(serde_json::from_value(newest).unwrap()),
        }
    };
    let answer = |offline| {
        let args = CheckArgs {
            file: "-".into(),
            rate: None,
            offline,
            output: Output::Text,
        };
        answered(&args, &ask, &text).1
    };
    insta::assert_snapshot!("required", answer(false));
    assert!(!answer(true).contains("1.4.0"));
}
