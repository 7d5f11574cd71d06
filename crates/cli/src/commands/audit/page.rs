//! The page of a bundle: one file of HTML for people, without scripts and without anything from
//! elsewhere. It is a function of the bundle, so whoever has the bundle can make it again and
//! compare.

mod html;
mod rollout;

use std::path::{Path, PathBuf};

use airboss_attest::Verdict;
use airboss_engine::Event;
use airboss_ledger::{Bundle, Checkpoint, LaneRecords, Record, TextHash, VerifyingKey};
use airboss_model::Timestamp;
use airboss_server::facts_in_words;

use super::{evidence, replay};
use html::Html;

const STYLE: &str = include_str!("page/page.css");

/// How a page stands to a bundle.
pub(super) enum Beside {
    /// It is the bundle's, byte for byte.
    Same,
    /// Another version of Airboss made it, so it cannot be compared.
    OtherVersion(String),
    /// It is not what the bundle makes.
    Differs,
}

/// Where a bundle's page lies: `x.audit.json` has `x.audit.html`.
pub(super) fn beside(bundle: &Path) -> PathBuf {
    bundle.with_extension("html")
}

/// What a page says of who made it.
fn made_by(version: &str) -> String {
    format!("<meta name=\"generator\" content=\"airboss {version}\">")
}

/// Compares a page with the one that the bundle makes.
pub(super) fn compare(page: &[u8], bundle: &Bundle, bytes: &[u8]) -> Beside {
    if page == make(bundle, bytes).as_bytes() {
        return Beside::Same;
    }
    let text = String::from_utf8_lossy(page);
    let version = text
        .split_once("<meta name=\"generator\" content=\"airboss ")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(version, _)| version);
    match version {
        Some(version) if version != env!("CARGO_PKG_VERSION") => {
            Beside::OtherVersion(version.to_owned())
        }
        _ => Beside::Differs,
    }
}

/// An event of a bundle, with what it says where this version understands it.
struct Told<'a> {
    record: &'a Record,
    event: Option<Event>,
}

fn told(lane: &LaneRecords) -> Vec<Told<'_>> {
    let tell = |record| Told {
        event: event(record),
        record,
    };
    lane.records.iter().map(|it| tell(&it.record)).collect()
}

fn event(record: &Record) -> Option<Event> {
    serde_json::from_str(&record.body).ok()
}

/// Says what is wrong where a release's bundle has rollouts of another release, or leaves one of
/// its own out.
pub(super) fn not_of(lane: &LaneRecords, subject: &str) -> Option<String> {
    let is_release = subject.contains('@');
    let asked = told(lane).into_iter().filter_map(|it| match it.event {
        Some(Event::Requested { request, .. }) => Some(request),
        _ => None,
    });
    for request in asked.filter(|_| is_release) {
        let id = request.rollout.to_string();
        let listed = lane.rollouts.contains(&id);
        if listed != (request.release.as_str() == subject) {
            let does = if listed { "lists" } else { "does not list" };
            return Some(format!(
                "the bundle of {subject} {does} {id}, which is of {}",
                request.release
            ));
        }
    }
    None
}

/// Microseconds since 1970, as people read them: in UTC, to the second.
fn time(at: i64) -> String {
    Timestamp::from_microsecond(at).map_or_else(
        |_| at.to_string(),
        |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

/// The page.
pub(super) fn make(bundle: &Bundle, bytes: &[u8]) -> String {
    let mut html = Html::default();
    let digest = format!("sha256:{}", TextHash::of_bytes(bytes));
    html.raw("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n")
        .raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n")
        // Should a browser be told otherwise by anything in a record, it still fetches nothing.
        .raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n")
        .raw(&made_by(env!("CARGO_PKG_VERSION")))
        .raw("\n")
        .element("title", &format!("Audit record of {}", bundle.subject))
        .raw("\n<style>\n")
        .raw(STYLE)
        .raw("</style></head>\n<body><main>\n");
    head(&mut html, bundle);
    for lane in &bundle.lanes {
        let told = told(lane);
        for id in &lane.rollouts {
            rollout::section(&mut html, lane, id, &told);
        }
    }
    people(&mut html, bundle);
    documents(&mut html, bundle);
    verification(&mut html, bundle, &digest);
    appendix(&mut html, bundle);
    html.raw("</main>\n<footer><p>Made by Airboss ")
        .text(env!("CARGO_PKG_VERSION"))
        .raw(" from the bundle with the digest ")
        .element("code", &digest)
        .raw(". Times are in UTC. This page needs no network and no scripts.</p></footer>\n</body></html>\n");
    html.finish()
}

fn head(html: &mut Html, bundle: &Bundle) {
    html.raw("<p class=\"kind\">Audit record</p>\n")
        .element("h1", &bundle.subject)
        .raw("\n");
    html.table(
        "What happened, in short",
        &["Rollout", "Where", "Asked for", "By", "Result"],
    );
    for lane in &bundle.lanes {
        let told = told(lane);
        for id in &lane.rollouts {
            let rollout = rollout::Facts::of(id, &told);
            html.raw("<tr><td><a href=\"#").text(id).raw("\">");
            html.text(id).raw("</a></td>");
            html.element("td", &lane.lane)
                .element("td class=\"when\"", &rollout.asked_at)
                .element("td", &rollout.by)
                .raw("<td>");
            rollout.badge(html);
            html.raw("</td></tr>\n");
        }
    }
    html.raw("</tbody></table>\n");
    for what in bundle.lanes.iter().filter_map(replay::begun) {
        let what = format!("Removed by retention: {what}.");
        html.element("p class=\"note\"", &what).raw("\n");
    }
}

/// Who did what, in the order of the events.
fn people(html: &mut Html, bundle: &Bundle) {
    html.raw("<h2 id=\"people\">Who did what</h2>\n");
    html.table(
        "Everything in these rollouts that a person asked for or decided",
        &["Time", "Person", "What", "#Event"],
    );
    for lane in &bundle.lanes {
        for told in told(lane) {
            let of_bundle = told
                .record
                .rollout
                .as_ref()
                .is_some_and(|id| lane.rollouts.contains(id));
            let by = told.event.as_ref().and_then(Event::decided_by);
            if let (true, Some((airboss_engine::By::Person(name), _))) = (of_bundle, by) {
                html.raw("<tr>")
                    .element("td class=\"when\"", &time(told.record.at))
                    .element("td class=\"who\"", &name)
                    .element("td", &told.record.message)
                    .element("td class=\"num\"", &told.record.number.to_string())
                    .raw("</tr>\n");
            }
        }
    }
    html.raw("</tbody></table>\n");
}

fn documents(html: &mut Html, bundle: &Bundle) {
    html.raw("<h2 id=\"evidence\">Evidence about the artifact</h2>\n");
    if bundle.documents.is_empty() {
        html.raw("<p class=\"note\">The bundle holds no attestation or report about the artifact: nothing says who built it from what, or which tests it passed.</p>\n");
        return;
    }
    let Ok(known) = evidence::check(bundle) else {
        html.raw("<p class=\"note\">The documents do not hold: <code>airboss audit verify</code> says which one, and why.</p>\n");
        return;
    };
    let kind = |id: &str| {
        let known = known.iter().find(|it| it.id == id);
        known.map_or("document", |it| it.facts.kind())
    };
    html.table(
        "Documents in the bundle, as they were received; who stands behind each of them was checked again when the bundle was made",
        &["Document", "What it says", "Who stands behind it", "Came"],
    );
    for it in &known {
        let (mood, word) = match it.verification.verdict {
            Verdict::Verified => ("good", "verified"),
            Verdict::Unsigned => ("wait", "unsigned"),
            Verdict::Untrusted => ("wait", "untrusted"),
            Verdict::Refused => ("bad", "refused"),
        };
        html.raw("<tr id=\"").text(&it.id).raw("\"><td>");
        html.element("b", it.facts.kind()).raw("<br>").text(it.form);
        html.raw("</td><td>")
            .text(&facts_in_words(&it.facts))
            .raw("</td><td>");
        html.element(&format!("span class=\"badge {mood}\""), word);
        html.raw("<br>").text(&it.verification.reason);
        if it.vouched {
            html.raw("<br>Airboss signed what it says.");
        }
        html.raw("</td><td>");
        html.element("span class=\"when\"", &time(it.seen.as_microsecond()));
        html.raw("<br>").text(&it.source).raw(", by ");
        html.element("span class=\"who\"", &it.by)
            .raw("</td></tr>\n");
    }
    html.raw("</tbody></table>\n");
    html.table(
        "Their bytes in the bundle",
        &["Document", "SHA-256", "Artifact", "#Bytes"],
    );
    for document in &bundle.documents {
        let bytes = document.content().map_or(0, |bytes| bytes.len());
        html.raw("<tr>")
            .element("td", kind(&document.id))
            .element("td class=\"mono\"", &document.id)
            .element("td class=\"mono\"", &document.artifact)
            .element("td class=\"num\"", &bytes.to_string())
            .raw("</tr>\n");
    }
    html.raw("</tbody></table>\n");
    believed(html, bundle);
}

/// Whom the installation believed when the bundle was made.
fn believed(html: &mut Html, bundle: &Bundle) {
    let Some(trust) = evidence::trust(bundle) else {
        return;
    };
    html.table(
        "Whose signatures the installation believes, as sealed in the log",
        &["Name", "What", "Id or identity", "Until"],
    );
    for key in &trust.keys {
        let until = match (&key.revoked, key.until) {
            (Some(revoked), _) => format!("revoked {}", time(revoked.at.as_microsecond())),
            (None, Some(until)) => time(until.as_microsecond()),
            (None, None) => "in force".to_owned(),
        };
        let what = if key.own {
            "Airboss’s own key"
        } else {
            "key"
        };
        html.raw("<tr>")
            .element("td", &key.name)
            .element("td", &format!("{what}, {}", key.key.algorithm()))
            .element("td class=\"mono\"", &key.key.id())
            .element("td", &until)
            .raw("</tr>\n");
    }
    for it in &trust.identities {
        let until = it.revoked.as_ref().map_or_else(
            || "in force".to_owned(),
            |revoked| format!("revoked {}", time(revoked.at.as_microsecond())),
        );
        html.raw("<tr>")
            .element("td", &it.name)
            .element("td", "identity")
            .element(
                "td class=\"mono\"",
                &format!("{} by {}", it.identity, it.issuer),
            )
            .element("td", &until)
            .raw("</tr>\n");
    }
    html.raw("</tbody></table>\n");
}

fn verification(html: &mut Html, bundle: &Bundle, digest: &str) {
    let file = format!("{}.audit.json", bundle.subject);
    html.raw("<h2 id=\"verify\">How to check this</h2>\n")
        .raw("<p>This page is only a reading of the bundle beside it. The bundle is what counts, and it is checked without the server that made it and without a network:</p>\n")
        .element("pre", &format!("airboss audit verify {file} --key '{}'", bundle.key))
        .raw("<p>Take the key from somewhere else than from this page. The command checks that the signature is the log’s, that each event with the input of its decision is in the signed tree and that none is missing, that each decision made again on its input leads to the same words, that each document has its bytes and its signatures hold by the keys that the log names, and that this page is what the bundle makes.</p>\n<dl>\n")
        .code_fact("Bundle", digest)
        .code_fact("Format", &bundle.format)
        .code_fact("Public key", &bundle.key);
    let opened = bundle
        .key
        .parse::<VerifyingKey>()
        .ok()
        .and_then(|key| Checkpoint::open(&bundle.checkpoint, &[key]).ok());
    if let Some(checkpoint) = opened {
        html.code_fact("Log", &checkpoint.origin)
            .fact("Events in the log", &checkpoint.size.to_string())
            .code_fact("Root of the tree", &checkpoint.root.to_string());
    }
    html.raw("</dl>\n");
    let mut settings = replay::settings(bundle).peekable();
    if settings.peek().is_some() {
        html.table(
            "How long the log was told to keep the words of its events, as sealed in it",
            &["Time", "Person", "What", "#Event"],
        );
        for record in settings {
            html.raw("<tr>")
                .element("td class=\"when\"", &time(record.at))
                .element("td class=\"who\"", &replay::asked_by(record))
                .element("td", &record.message)
                .element("td class=\"num\"", &record.number.to_string())
                .raw("</tr>\n");
        }
        html.raw("</tbody></table>\n");
    }
    html.raw("<h3>Signed checkpoint</h3>\n")
        .element("pre", &bundle.checkpoint)
        .raw("\n");
}

/// Every event of the rollouts, with nothing left out.
fn appendix(html: &mut Html, bundle: &Bundle) {
    html.raw("<h2 id=\"events\">Every event</h2>\n");
    for lane in &bundle.lanes {
        html.table(
            &format!(
                "{}: events of {}; {} events of the lane are in the bundle",
                lane.lane,
                lane.rollouts.join(", "),
                lane.records.len()
            ),
            &["#Event", "Time", "Kind", "What"],
        );
        let of_bundle = |record: &&Record| {
            let id = record.rollout.as_ref();
            id.is_some_and(|id| lane.rollouts.contains(id))
        };
        for record in lane.records.iter().map(|it| &it.record).filter(of_bundle) {
            html.raw("<tr>")
                .element("td class=\"num\"", &record.number.to_string())
                .element("td class=\"when\"", &time(record.at))
                .element("td class=\"mono\"", &record.kind)
                .element("td", &record.message)
                .raw("</tr>\n");
        }
        html.raw("</tbody></table>\n");
    }
}
