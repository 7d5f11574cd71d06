//! Every form is recognised by what it is, and its facts are drawn from it.

use airboss_attest::{Facts, Form, Hint, ReadError, read_lines};
use serde_json::json;

use crate::make::{artifact, document, sample, samples, signed, tests_statement, try_read_as};

#[test]
fn every_sample_is_read_and_its_facts_are_these() {
    let mut names: Vec<String> = std::fs::read_dir(samples())
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let told: Vec<_> = names
        .iter()
        .map(|name| {
            let document = document(&sample(name));
            json!({ "file": name, "form": document.form, "facts": document.facts })
        })
        .collect();
    insta::assert_json_snapshot!(told);
}

#[test]
fn the_statement_in_which_airboss_words_a_report_says_the_same_as_the_report() {
    for name in [
        "junit-pytest.xml",
        "junit-surefire.xml",
        "sarif-levels.json",
        "sarif-scores.json",
        "osv.json",
        "bom.cdx.json",
        "bom.cdx.xml",
        "bom.spdx.json",
    ] {
        let report = document(&sample(name));
        assert!(report.statement.is_about(&artifact()), "{name}");
        assert!(report.envelope.is_none(), "{name}");
        let again = document(report.statement.to_json().as_bytes());
        assert_eq!(again.form, Form::Statement, "{name}");
        assert_eq!(again.facts, report.facts, "{name}");
    }
}

#[test]
fn a_file_of_lines_is_as_many_documents_and_a_bad_line_is_named() {
    let subject = artifact();
    let hint = Hint {
        subject: &subject,
        name: "checkout",
        form: None,
    };
    let one = signed(&tests_statement("unit", &[]), &[1]).to_string();
    let two = signed(&tests_statement("browser", &["pays"]), &[1]).to_string();
    let lines = format!("{one}\n\n{two}\r\n");
    let read = read_lines(lines.as_bytes(), &hint).unwrap();
    assert_eq!(read.len(), 2);
    assert!(matches!(&read[1].facts, Facts::Tests(it) if it.failed == 1));

    let broken = format!("{one}\n{{\"payloadType\":\"x\"}}\n");
    let error = read_lines(broken.as_bytes(), &hint).unwrap_err();
    assert!(
        matches!(error, ReadError::Line { number: 2, .. }),
        "{error}"
    );

    // JSON over several lines is one document.
    let pretty =
        serde_json::to_vec_pretty(&serde_json::from_str::<serde_json::Value>(&one).unwrap());
    assert_eq!(read_lines(&pretty.unwrap(), &hint).unwrap().len(), 1);
}

#[test]
fn a_file_that_is_not_what_it_is_said_to_be_is_refused_in_words() {
    let error = try_read_as(&sample("bom.cdx.json"), Some(Form::Sarif)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the document is CycloneDX; SARIF was expected"
    );
    // Statements come bare, in envelopes and in bundles, and bills in two formats.
    assert!(try_read_as(&sample("envelope.json"), Some(Form::Statement)).is_ok());
    assert!(try_read_as(&sample("bom.spdx.json"), Some(Form::CycloneDx)).is_ok());
}

#[test]
fn the_same_bytes_are_the_same_document() {
    let one = document(&sample("osv.json"));
    assert_eq!(one.id, document(&sample("osv.json")).id);
    assert_ne!(one.id, document(&sample("svr.json")).id);
}
