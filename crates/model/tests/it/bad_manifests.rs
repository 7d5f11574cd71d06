//! Each bad manifest gets messages that say where, what and what to write instead.

use airboss_model::manifest::{self, Severity};
use proptest::prelude::*;

use crate::{GOOD, findings, with};

/// Findings of [`GOOD`] with pieces replaced, one block a case.
fn report(cases: &[(&str, &str, &str)]) -> String {
    let texts = cases.iter().map(|(name, piece, other)| {
        let found = findings(&with(piece, other));
        (*name, found)
    });
    blocks(texts)
}

fn blocks<'n>(cases: impl Iterator<Item = (&'n str, Vec<manifest::Diagnostic>)>) -> String {
    cases
        .map(|(name, found)| {
            assert!(!found.is_empty(), "no finding for: {name}");
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            format!("── {name}\n{}\n", found.join("\n"))
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_wrong_name_is_answered_with_the_right_one() {
    let text = report(&[
        ("slip in a field", "instances: 2", "instanses: 2"),
        ("field of another place", "instances: 2", "steps: [100%]"),
        ("field nobody knows", "instances: 2", "colour: red"),
        ("slip in a required field", "command:", "comand:"),
        ("slip at the top", "apiVersion:", "apiversion:"),
        ("slip in the kind", "kind: Service", "kind: Servcie"),
        ("another kind", "kind: Service", "kind: Deployment"),
        ("later version", "airboss/v1", "airboss/v9"),
        ("no kind", "kind: Service\n", ""),
        ("slip in a word", "tier: critical", "tier: critcal"),
        ("unknown word", "tier: critical", "tier: 1"),
        ("target of another kind", "process:\n", "kubernetes:\n"),
        ("slip in a strategy", "canary:", "cannary:"),
        ("slip in a placeholder", "\"{port}\"]", "\"{prot}\"]"),
        ("merge key", "instances: 2", "<<: {}"),
        ("mirror without canary", "exposure_lease: 60s", "mirror: 5%"),
        ("slip in an item of evidence", "tests, scan", "test, scan"),
        (
            "slip in a scan's limits",
            "{ max: high,",
            "{ maximum: high,",
        ),
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn a_margin_or_a_chance_that_cannot_be_meant_is_answered_with_one_that_can() {
    let slo = |more: &str| format!("99.9%, bad: \"status >= 500\", {more} }}");
    let good = |more: &str| format!("3%, good: \"status == 201\", {more} }}");
    let cases = [
        ("no margin", slo("margin: { fail: 10% }")),
        ("tighter than stable", slo("margin: { fail: 0.9x }")),
        ("wider than all", slo("margin: { fail: 500x }")),
        ("a gap", slo("margin: { fail: 2x, pass: 1.5x }")),
        ("slip in a margin", slo("margin: { fial: 2x }")),
        ("more than stable's", good("margin: { fail: 1.1x }")),
        ("good and bad", good("bad: \"status >= 500\"")),
    ];
    let piece = "99.9%, bad: \"status >= 500\" }";
    let mut cases: Vec<(&str, &str, String)> = cases
        .into_iter()
        .map(|(name, text)| (name, piece, text))
        .collect();
    let judge = |text: &str| format!("  judge: {text}\n  slos:\n");
    cases.push(("a chance of a half", "  slos:\n", judge("{ alpha: 50% }")));
    cases.push(("a bare number", "  slos:\n", judge("{ beta: 0.05 }")));
    cases.push(("slip in a chance", "  slos:\n", judge("{ harm: 1% }")));
    let cases: Vec<(&str, &str, &str)> = cases
        .iter()
        .map(|(name, piece, text)| (*name, *piece, text.as_str()))
        .collect();
    insta::assert_snapshot!(report(&cases));
}

#[test]
fn a_guardrail_or_a_part_of_the_chances_that_cannot_be_meant_is_answered_with_one_that_can() {
    let guardrail = |text: &str| format!("  guardrails: [ {text} ]\n  slos:\n");
    let cases = [
        ("nothing measured", "{ name: queue }"),
        (
            "two measured",
            "{ name: queue, gauge: depth, rate: x_total }",
        ),
        ("no metric", "{ name: queue, gauge: queue depth }"),
        ("slip in a kind", "{ name: queue, guage: depth }"),
        ("a counter as a level", "{ name: jobs, gauge: jobs_total }"),
        ("a share of nothing", "{ name: hits, share: hits_total }"),
        (
            "of for nothing",
            "{ name: queue, gauge: depth, of: x_total }",
        ),
        (
            "more events are better",
            "{ name: oom, events: oom_total, better: higher }",
        ),
        ("no margin", "{ name: queue, gauge: depth, margin: 10 }"),
        (
            "another unit",
            "{ name: queue, gauge: depth, margin: 1.1x + 5% }",
        ),
        (
            "tighter than stable",
            "{ name: queue, gauge: depth, margin: 0.9x }",
        ),
        (
            "wider than all",
            "{ name: queue, gauge: depth, margin: 200x }",
        ),
        ("a name twice", "{ name: latency, gauge: depth }"),
        (
            "a part of nothing",
            "{ name: queue, gauge: depth, advisory: true, alpha: 0.1% }",
        ),
        (
            "more than the whole",
            "{ name: queue, gauge: depth, alpha: 2% }",
        ),
        (
            "all of the whole",
            "{ name: queue, gauge: depth, alpha: 1% }",
        ),
    ];
    let mut cases: Vec<(&str, &str, String)> = cases
        .into_iter()
        .map(|(name, text)| (name, "  slos:\n", guardrail(text)))
        .collect();
    let advisory = "99.9%, bad: \"status >= 500\", advisory: true, beta: 1% }";
    let piece = "99.9%, bad: \"status >= 500\" }";
    cases.push((
        "chances of what decides nothing",
        piece,
        advisory.to_owned(),
    ));
    let cases: Vec<(&str, &str, &str)> = cases
        .iter()
        .map(|(name, piece, text)| (*name, *piece, text.as_str()))
        .collect();
    insta::assert_snapshot!(report(&cases));
}

#[test]
fn a_wrong_value_is_answered_with_what_fits() {
    let text = report(&[
        ("missing field", "      listen: 127.0.0.1:8080\n", ""),
        ("text for a number", "instances: 2", "instances: two"),
        ("quoted number", "instances: 2", "instances: \"2\""),
        ("list for a text", "listen: 127.0.0.1:8080", "listen: [a]"),
        ("text for a list", "[1%, 10%, 50%, 100%]", "1%"),
        ("text for a mapping", "{ cookie: arm }", "arm"),
        (
            "two where one goes",
            "{ cookie: arm }",
            "{ cookie: a, header: b }",
        ),
        ("none where one goes", "{ cookie: arm }", "{}"),
        ("nothing", "owner: payments", "owner:"),
        ("no truth", "under: 250ms", "under: 250ms, critical: yes"),
        ("span without unit", "drain: 10s", "drain: 10"),
        ("share without %", "[1%, 10%,", "[1%, 10,"),
        ("objective of 100%", "99.9%", "100%"),
        ("condition", "status >= 500", "status => 500"),
        ("bake", "bake: auto", "bake: soon"),
        ("service name", "name: checkout", "name: Check_Out"),
        ("twice", "drain: 10s", "drain: 10s\n      drain: 20s"),
        ("unknown severity", "max: high", "max: severe"),
        (
            "evidence with limits that has none",
            "[signed,",
            "[signed: {},",
        ),
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn what_cannot_be_is_refused_where_it_stands() {
    let text = report(&[
        ("no instances", "instances: 2", "instances: 0"),
        ("too many instances", "instances: 2", "instances: 1001"),
        ("no port", "127.0.0.1:8080", "localhost"),
        ("URL", "127.0.0.1:8080", "http://localhost:8080"),
        ("no host", "127.0.0.1:8080", "\":8080\""),
        ("bad port", "127.0.0.1:8080", "127.0.0.1:80800"),
        ("bad host", "127.0.0.1:8080", "127.0.0.256:80"),
        ("IPv6 without brackets", "127.0.0.1:8080", "\"::1:8080\""),
        ("health path", "/healthz", "healthz"),
        (
            "no command",
            "[\"{artifact}/checkout\", \"--port\", \"{port}\"]",
            "[]",
        ),
        ("drain too long", "drain: 10s", "drain: 2d"),
        (
            "health never ready",
            "ready_within: 10s",
            "ready_within: 0s",
        ),
        (
            "lease too short",
            "exposure_lease: 60s",
            "exposure_lease: 1s",
        ),
        ("cookie name", "cookie: arm", "cookie: \"my arm\""),
        ("reserved variable", "LOG_LEVEL: info", "AIRBOSS_HOME: /x"),
        ("empty reference", "env:CHECKOUT_TOKEN", "\"env:\""),
        ("steps fall", "[1%, 10%, 50%, 100%]", "[10%, 1%, 100%]"),
        ("steps start at zero", "[1%, 10%, 50%, 100%]", "[0%, 100%]"),
        ("steps end early", "[1%, 10%, 50%, 100%]", "[1%, 50%]"),
        ("no steps", "[1%, 10%, 50%, 100%]", "[]"),
        ("two strategies", "exposure_lease: 60s", "all_at_once:"),
        ("bake beyond at_most", "bake: auto", "bake: 1h"),
        ("evidence required twice", "sbom]", "sbom, tests]"),
        ("scan of no age", "age: 7d", "age: 0s"),
        ("SLO without condition", ", under: 250ms", ""),
        (
            "SLO with two conditions",
            "under: 250ms",
            "under: 250ms, bad: status >= 500",
        ),
        (
            "two SLOs of one name",
            "name: latency",
            "name: availability",
        ),
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn what_looks_wrong_and_may_be_meant_is_a_warning() {
    let cases = [
        (
            "port unused",
            "\"--port\", \"{port}\"",
            "\"--port\", \"80\"",
        ),
        ("artifact unused", "{artifact}/checkout", "/bin/checkout"),
        ("unknown braces", "LOG_LEVEL: info", "FORMAT: \"{message}\""),
        ("good answers are bad", "status >= 500", "status >= 200"),
        ("slow beyond the timeout", "250ms", "40s"),
        (
            "objective the wrong way round",
            "objective: 99%",
            "objective: 1%",
        ),
        ("no evidence", "at_most: 20m", "at_most: 20m, then: promote"),
        ("port 0", "127.0.0.1:8080", "127.0.0.1:0"),
        ("no finding ever blocks", "max: high", "max: critical"),
    ];
    let text = report(&cases);
    insta::assert_snapshot!(text);
    for (name, piece, other) in cases {
        let documents = manifest::parse("airboss.yaml", &with(piece, other)).unwrap();
        let warned = &documents[0].warnings;
        assert!(
            warned.iter().all(|w| w.severity == Severity::Warning),
            "{name}"
        );
    }
}

#[test]
fn a_text_that_is_no_manifest_is_told_what_it_is() {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d]\n";
    let deep = "[".repeat(70);
    let cases = [
        ("empty", ""),
        ("only a comment", "# later\n"),
        ("tab", "kind: Service\nspec:\n\ttarget: x\n"),
        ("open bracket", "kind: [Service\nspec: x\n"),
        ("unquoted colon", "kind: Service\nspec: a: b\n"),
        ("unquoted percent", "a: %x\n"),
        ("unquoted placeholder", "command: [{artifact}/x]\n"),
        ("tag", "kind: !include x.yaml\n"),
        ("unknown alias", "kind: *service\n"),
        ("alias in itself", "a: &a [*a]\n"),
        ("alias bomb", bomb),
        ("too deep", deep.as_str()),
        ("a list", "- kind: Service\n"),
        ("only words", "hello world\n"),
        ("control characters", "kind: \"\u{9b}31mx\"\nspec: \u{7}\n"),
    ];
    let mut text = blocks(cases.into_iter().map(|(name, text)| (name, findings(text))));
    for (name, bytes) in [
        ("binary", &b"\x7fELF\0\x01"[..]),
        ("UTF-16", b"\xff\xfek\0i\0"),
        ("Latin-1", b"metadata: { owner: caf\xe9 }\n"),
        ("far too large", &vec![b'#'; manifest::BYTES_MAX + 1]),
    ] {
        let found = manifest::parse_bytes("airboss.yaml", bytes).unwrap_err();
        text += "\n";
        text += &blocks([(name, found)].into_iter());
    }
    insta::assert_snapshot!(text);
}

#[test]
fn everything_wrong_is_told_at_once_and_nothing_twice() {
    let text = r#"apiVersion: airboss/v1
kind: Service
metadata: { name: Checkout, teir: critical }
spec:
  target:
    process:
      comand: ["./x"]
      instances: many
      health: { http: healthz, redy_within: 10s }
  slos:
    - { name: availability, objective: 99.9, bad: "status >= 500" }
    - { name: latency, objective: 99% }
  rollout:
    canary: { steps: [10%, 5%, x] }
---
apiVersion: airboss/v1
kind: Service
metadata: { name: other }
spec:
  target: { process: { command: ["{artifact}", "{port}"], listen: "x" } }
  rollout: { blue_green: , canary: }
"#;
    let text = blocks([("all", findings(text))].into_iter());
    insta::assert_snapshot!(text);
}

#[test]
fn two_services_of_one_file_cannot_share_name_or_address() {
    let text = format!("{GOOD}---\n{GOOD}");
    let text = blocks([("twice", findings(&text))].into_iter());
    insta::assert_snapshot!(text);
}

#[test]
fn a_secret_in_a_manifest_is_refused_and_never_shown() {
    let secret = "hunter2hunter2";
    let cases = [
        with("LOG_LEVEL: info", &format!("DB_PASSWORD: {secret}")),
        with("LOG_LEVEL: info", &format!("\"db-password\": \"{secret}\"")),
        with(
            "LOG_LEVEL: info",
            &format!("DATABASE_URL: postgres://me:{secret}@db/x"),
        ),
        with(
            "\"--port\"",
            &format!("\"--db=postgres://me:{secret}@db/x\""),
        ),
        // Also where the same line or the whole file is wrong in another way.
        with(
            "instances: 2",
            &format!("env_: {{ STRIPE_KEY: {secret}, a: {{b }} }}"),
        ),
        with("instances: 2", &format!("emv: {{ STRIPE_KEY: {secret} }}")),
        with(
            "LOG_LEVEL: info",
            &format!("STRIPE_KEY: {secret}\"\n\t bad"),
        ),
        with(
            "LOG_LEVEL: info",
            &format!("STRIPE_KEY: {secret}: {secret}"),
        ),
    ];
    let mut seen = Vec::new();
    for text in &cases {
        let found = manifest::parse("airboss.yaml", text).unwrap_err();
        let words = format!("{found:?}");
        assert!(!words.contains("hunter2"), "{words}");
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        seen.push(lines.join("\n"));
    }
    insta::assert_snapshot!(seen.join("\n\n"));
}

#[test]
fn a_flood_of_findings_ends_with_a_count() {
    let twice = format!("{{ {} }}", "A_KEY: s, ".repeat(5_000));
    let many = format!(
        "{{ {} }}",
        (0..5_000)
            .map(|n| format!("K{n}_TOKEN: s, "))
            .collect::<String>()
    );
    let steps = format!("[{}]", "1%, ".repeat(15_000));
    for text in [
        with("LOG_LEVEL: info", &format!("X: {twice}")),
        with("LOG_LEVEL: info", &format!("X: {many}")),
        with("[1%, 10%, 50%, 100%]", &steps),
        with(
            "tier: critical",
            &format!("labels: {}", many.replace("_TOKEN", "")),
        ),
    ] {
        let found = manifest::parse("airboss.yaml", &text).unwrap_err();
        assert!(found.len() <= manifest::FINDINGS_MAX + 1, "{}", found.len());
        let longest = found.iter().map(|finding| finding.to_string().len()).max();
        assert!(longest < Some(1_000), "{longest:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = findings(&text);
    }

    #[test]
    fn no_damage_to_a_good_manifest_makes_the_reader_panic(
        at in 0..GOOD.len(),
        cut in 0_usize..40,
        put in "[ \\t\\n{}\\[\\]:,#&*!|>'\"%@`a-z0-9ä-]{0,8}",
    ) {
        let end = (at + cut).min(GOOD.len());
        let text = format!("{}{put}{}", &GOOD[..at], &GOOD[end..]);
        for finding in findings(&text) {
            prop_assert!(finding.line <= text.lines().count().max(1) + 1);
            let shown = finding.to_string();
            prop_assert!(!shown.contains('\t'));
        }
    }

    #[test]
    fn no_damage_around_a_secret_brings_it_to_light(
        at in 0..GOOD.len(),
        cut in 0_usize..12,
        put in "[ \\n{}\\[\\]:,#&*!|>'\"%a-z-]{0,4}",
    ) {
        let text = with("info", "info\n        DB_PASSWORD: hunter2");
        let secret = text.find("        DB_PASSWORD").unwrap_or_default();
        let secret_end = secret + "        DB_PASSWORD: hunter2\n".len();
        // The line of the secret itself stays whole.
        let (at, cut) = match at {
            at if at < secret => (at, cut.min(secret - at)),
            at => (at.max(secret_end), cut),
        };
        let end = (at + cut).min(text.len());
        let text = format!("{}{put}{}", &text[..at], &text[end..]);
        let shown = format!("{:?}", findings(&text));
        prop_assert!(!shown.contains("hunter"), "{}", shown);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = manifest::parse_bytes("airboss.yaml", &bytes);
    }
}
