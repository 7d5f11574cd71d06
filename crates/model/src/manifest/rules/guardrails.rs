//! Rules for guardrails, and for chances that SLOs and guardrails divide.

use std::time::Duration;

use super::{Rules, join};
use crate::Span;
use crate::manifest::diagnostic::quote;
use crate::manifest::guardrail::{Better, Measured, Unit};
use crate::manifest::{Canary, Chance, Guardrail, Judging, Slo};

/// Most guardrails of one service.
pub const GUARDRAILS_MAX: usize = 20;
/// A guardrail of levels has spoken by then, where nothing is known of the past; see the judge's gauge.
const LEVELS_NEED: Duration = Duration::from_secs(420);

const PLACE: [&str; 2] = ["spec", "guardrails"];

impl Rules<'_> {
    pub(super) fn guardrails(
        &mut self,
        guardrails: &[Guardrail],
        slos: &[Slo],
        canary: Option<&Canary>,
    ) {
        if !self.count(&PLACE, guardrails.len(), GUARDRAILS_MAX) {
            return;
        }
        for (index, guardrail) in guardrails.iter().enumerate() {
            let number = index.to_string();
            let place = join(&PLACE, &[&number]);
            let name = join(&place, &["name"]);
            self.name(&name, &guardrail.name, "a guardrail");
            let mut before = guardrails[..index].iter().map(|other| &other.name);
            if before.any(|other| *other == guardrail.name)
                || slos.iter().any(|slo| slo.name == guardrail.name)
            {
                let message = format!("{} is the name of another one", quote(&guardrail.name));
                self.error(
                    &name,
                    message,
                    "give each SLO and guardrail a name of its own",
                );
            }
            self.guardrail(&place, guardrail);
            let levels = matches!(
                guardrail.measured(),
                Some(Measured::Gauge(_) | Measured::Rate(_) | Measured::Mean(..))
            );
            if let Some(canary) = canary.filter(|it| levels && it.at_most.0 < LEVELS_NEED) {
                let message = format!(
                    "{} needs up to {} of readings before a step can pass, and at_most is {}",
                    quote(&guardrail.name),
                    Span(LEVELS_NEED),
                    canary.at_most
                );
                let help =
                    "raise `at_most`, or count rare things with `events`, which need no time";
                self.warning(&place, message, help);
            }
        }
    }

    fn guardrail(&mut self, place: &[&str], guardrail: &Guardrail) {
        let kinds = guardrail.kinds();
        let named = Guardrail::KINDS.into_iter().zip(kinds);
        let mut named = named.filter_map(|(kind, series)| Some((kind, series?)));
        let Some((kind, series)) = named.next() else {
            let message = format!("{} does not say what it measures", quote(&guardrail.name));
            let help = "add `gauge: queue_depth`, `events: scale_errors_total`, `rate: cost_total`, or `share:` or `mean:` with `of:`";
            self.error(place, message, help);
            return;
        };
        if let Some((other, _)) = named.next() {
            let message =
                format!("`{other}` stands beside `{kind}`: a guardrail measures one thing");
            self.error(&join(place, &[other]), message, "make two guardrails of it");
        }
        let divides = matches!(kind, "share" | "mean");
        match &guardrail.of {
            None if divides => {
                let message = format!("`{kind}` does not say what it is of");
                let help =
                    "add `of:` with the counter to divide by, such as `of: cache_lookups_total`";
                self.error(&join(place, &[kind]), message, help);
            }
            Some(_) if !divides => {
                let message = format!("`of` says nothing beside `{kind}`");
                self.error(
                    &join(place, &["of"]),
                    message,
                    "use it with `share` or `mean`",
                );
            }
            _ => {}
        }
        if kind == "gauge" && series.name().ends_with("_total") {
            let message = format!("`{series}` is a counter by its name, which only grows");
            let help =
                "write `rate:` for its rise a second, or `events:` where it counts what is rare";
            self.warning(&join(place, &["gauge"]), message, help);
        }
        if kind == "events" && guardrail.better == Better::Higher {
            let help = "count them with `rate:`, where more may be better";
            self.error(
                &join(place, &["better"]),
                "events are what there should be fewer of",
                help,
            );
        }
        self.bound(&join(place, &["margin"]), kind, guardrail);
        if guardrail.advisory && guardrail.alpha.is_some() {
            self.decides_nothing(&join(place, &["alpha"]));
        }
    }

    fn bound(&mut self, place: &[&str], kind: &str, guardrail: &Guardrail) {
        let Some(bound) = guardrail.margin else {
            return;
        };
        let (unit, example) = match kind {
            "share" => (Unit::Percent, "1.1x + 0.5%"),
            "events" => (Unit::PerHour, "1.5x + 2/h"),
            _ => (Unit::Own, "1.1x + 5"),
        };
        if bound.plus != 0.0 && bound.unit != unit {
            let message = format!("what `{bound}` adds does not fit `{kind}`");
            self.error(place, message, &format!("write for instance `{example}`"));
            return;
        }
        let inside = match guardrail.better {
            Better::Lower => bound.factor >= 1.0 && bound.plus >= 0.0,
            Better::Higher => (0.0..=1.0).contains(&bound.factor) && bound.plus <= 0.0,
        };
        if !inside {
            let message = format!("stable itself is beyond the margin `{bound}`");
            let help = match guardrail.better {
                Better::Lower => "write at least `1x`, and what may be added",
                Better::Higher => {
                    "of what is better higher, write which part must be left, such as `0.9x`"
                }
            };
            self.error(place, message, help);
        } else if bound.factor > 100.0 {
            let message = format!("the margin `{bound}` lets everything through");
            self.error(place, message, "at most `100x` is taken");
        }
    }

    /// Chances of their own: parts of the whole's, and none of what decides nothing.
    pub(super) fn chances(&mut self, judge: Judging, slos: &[Slo], guardrails: &[Guardrail]) {
        if !slos.is_empty() && slos.iter().all(|slo| slo.advisory) {
            let help = "delete `advisory` where a release is to be judged by it";
            self.error(
                &["spec", "slos"],
                "every SLO is advisory, so no step could ever pass",
                help,
            );
        }
        for (index, slo) in slos.iter().enumerate().filter(|(_, slo)| slo.advisory) {
            let number = index.to_string();
            let said = [
                ("alpha", slo.alpha),
                ("beta", slo.beta),
                ("harm_budget", slo.harm_budget),
            ];
            for (name, _) in said.into_iter().filter(|(_, chance)| chance.is_some()) {
                self.decides_nothing(&["spec", "slos", &number, name]);
            }
        }
        let own = |list: &'static str, index: usize, advisory: bool, alpha: Option<Chance>| {
            (!advisory).then_some((list, index, alpha))
        };
        let slos = slos.iter().enumerate();
        let slos = slos.filter_map(|(index, slo)| own("slos", index, slo.advisory, slo.alpha));
        let guardrails = guardrails.iter().enumerate();
        let guardrails =
            guardrails.filter_map(|(index, it)| own("guardrails", index, it.advisory, it.alpha));
        let parts: Vec<_> = slos.chain(guardrails).collect();
        // As the judge counts: what is written in percent adds up to a little more or less.
        let whole = judge.alpha.ratio();
        let slack = whole * 1e-9;
        let others = parts.iter().any(|(_, _, alpha)| alpha.is_none());
        let mut sum = 0.0;
        for (list, index, alpha) in parts {
            let Some(alpha) = alpha else { continue };
            sum += alpha.ratio();
            if sum > whole + slack || (others && sum >= whole - slack) {
                let number = index.to_string();
                let message = format!(
                    "the chances that SLOs and guardrails have of their own are parts of spec.judge.alpha, {}, and come to {}{}",
                    judge.alpha,
                    crate::manifest::slo::percent(sum),
                    if others {
                        ", which leaves nothing for the others"
                    } else {
                        ""
                    }
                );
                let help = "lower this one, or raise `alpha` under `spec.judge`";
                self.error(&["spec", list, &number, "alpha"], message, help);
                return;
            }
        }
    }

    fn decides_nothing(&mut self, place: &[&str]) {
        let help = "delete this line, or `advisory`";
        self.warning(
            place,
            "what is advisory decides nothing, so this has no effect",
            help,
        );
    }
}
