//! Rules for promises and for the way to users.

use std::time::Duration;

use super::{HOUR, MINUTE, MS, ROLLOUT, Rules, SLOS_MAX, STEPS_MAX, WEEK, YEAR, join};
use crate::Span;
use crate::evidence::{Requirement, Severity};
use crate::manifest::diagnostic::quote;
use crate::manifest::{Bake, Canary, ProcessTarget, Requests, RolloutSpec, Slo, Strategy, Then};
use crate::route::RoutePattern;
use crate::status_set::StatusSet;
use crate::traffic::{NAMED_ROUTES_MAX, Weight};

impl Rules<'_> {
    pub(super) fn slos(&mut self, slos: &[Slo], strategy: Strategy, timeout: Option<Span>) {
        if !self.count(&["spec", "slos"], slos.len(), SLOS_MAX) {
            return;
        }
        for (index, slo) in slos.iter().enumerate() {
            let number = index.to_string();
            let place = ["spec", "slos", number.as_str()];
            self.slo(&place, slo, timeout);
            let first = slos.iter().position(|other| other.name == slo.name);
            if first != Some(index) {
                let message = format!("two SLOs have the name {}", quote(&slo.name));
                self.error(
                    &join(&place, &["name"]),
                    message,
                    "give each SLO a name of its own",
                );
            }
        }
        let canary = matches!(strategy, Strategy::Canary(_));
        // Without a readable target the manifest is far from complete.
        if canary && timeout.is_some() && !slos.iter().any(|slo| slo.critical && !slo.advisory) {
            let what = if slos.is_empty() {
                "a canary without SLOs has nothing to be judged by"
            } else {
                "none of the SLOs is critical, so nothing has to be proven at a step"
            };
            self.warning(
                &["spec", "slos"],
                what,
                "promise something, such as `- { name: availability, objective: 99.9%, bad: \"status >= 500\" }`",
            );
        }
    }

    /// Routes that SLOs and the manifest name.
    pub(super) fn routes(
        &mut self,
        slos: &[Slo],
        requests: &Requests,
        process: Option<&ProcessTarget>,
    ) {
        let place = ["spec", "requests"];
        let named = slos.iter().map(|slo| slo.routes.len()).sum::<usize>() + requests.routes.len();
        self.count(&join(&place, &["routes"]), named, NAMED_ROUTES_MAX);
        if let Some(name) = &requests.cohort {
            self.token(&join(&place, &["cohort"]), name, "header");
        }
        let health = process.and_then(|process| process.health.http.as_deref());
        for (index, slo) in slos.iter().enumerate() {
            let number = index.to_string();
            let probed = |route: &RoutePattern| {
                health.is_some_and(|path| {
                    route.matches("GET", path.split('?').next().unwrap_or_default())
                }) && !route.as_str().ends_with("**")
            };
            if !slo.routes.is_empty() && slo.routes.iter().all(probed) {
                let message = format!(
                    "the SLO {} counts health probes only, which no user sends",
                    quote(&slo.name)
                );
                let help = "name the routes of something that users do, such as `POST /pay`";
                self.warning(&["spec", "slos", &number, "routes"], message, help);
            }
        }
    }

    pub(super) fn name(&mut self, place: &[&str], name: &str, of: &str) {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 63 || !name.chars().all(fits) {
            let message = format!("{} is not a name for {of}", quote(name));
            let help = "use up to 63 letters, digits and `- _ .`";
            self.error(place, message, help);
        }
    }

    fn slo(&mut self, place: &[&str], slo: &Slo, timeout: Option<Span>) {
        self.name(&join(place, &["name"]), &slo.name, "an SLO");
        if let Some(good) = &slo.good {
            self.good(place, slo, good);
            return;
        }
        self.margin(place, slo);
        match (&slo.bad, &slo.under) {
            (None, None) => self.error(
                place,
                format!(
                    "the SLO {} does not say when a request is bad",
                    quote(&slo.name)
                ),
                "add `bad: \"status >= 500\"`, `good: \"status == 201\"` or `under: 250ms`",
            ),
            (Some(_), Some(_)) => self.error(
                &join(place, &["under"]),
                format!("the SLO {} has both `bad` and `under`", quote(&slo.name)),
                "make two SLOs of it, each with its own objective",
            ),
            (Some(bad), None) if bad.contains(200) => self.warning(
                &join(place, &["bad"]),
                format!("`{bad}` counts the answer 200 as bad"),
                "this condition says which requests failed, such as `status >= 500`",
            ),
            (Some(_), None) => {}
            (None, Some(under)) => {
                let place = join(place, &["under"]);
                self.span(&place, *under, MS, HOUR);
                if let Some(limit) = timeout.filter(|limit| under > limit) {
                    let message = format!("no answer takes longer than response_timeout, {limit}");
                    let help = "lower `under`, or raise `response_timeout`";
                    self.warning(&place, message, help);
                }
            }
        }
        if slo.objective.ratio() < 0.5 {
            let share = String::from(slo.objective);
            self.warning(
                &join(place, &["objective"]),
                format!("an objective of {share} lets most requests be bad"),
                "the objective is the share of good requests, such as `99.9%`",
            );
        }
    }

    /// An SLO of which more is better. Its objective may be small: few visitors buy.
    fn good(&mut self, place: &[&str], slo: &Slo, good: &StatusSet) {
        for (other, is) in [("bad", slo.bad.is_some()), ("under", slo.under.is_some())] {
            if is {
                let message = format!("the SLO {} has both `good` and `{other}`", quote(&slo.name));
                let help = "make two SLOs of it, each with its own objective";
                self.error(&join(place, &[other]), message, help);
            }
        }
        if good.complement().is_empty() {
            let message = format!("`{good}` counts every answer as good");
            let help = "this condition says which requests succeeded, such as `status == 201`";
            self.error(&join(place, &["good"]), message, help);
        }
        self.margin(place, slo);
    }

    /// A margin that stable itself is beyond, or one that leaves a gap between pass and fail.
    fn margin(&mut self, place: &[&str], slo: &Slo) {
        let named = [("fail", slo.margin.fail), ("pass", slo.margin.pass)];
        for (name, edge) in named {
            let Some(edge) = edge else { continue };
            let place = join(place, &["margin", name]);
            if slo.good.is_some() {
                if edge.factor > 1.0 || edge.factor <= 0.0 || edge.plus > 0.0 {
                    let message = format!("stable itself is beyond the margin `{edge}`");
                    let help = "of an SLO with `good`, write which part of stable's share must be left, such as `0.95x`";
                    self.error(&place, message, help);
                }
            } else if edge.factor < 1.0 || edge.plus < 0.0 {
                let message = format!("stable itself is beyond the margin `{edge}`");
                let help = "write at least `1x`, and what may be added, such as `1.1x + 0.01%`";
                self.error(&place, message, help);
            } else if edge.factor > 100.0 {
                let message = format!("the margin `{edge}` lets everything through");
                let help = "a usual one is `1.1x + 0.01%`; at most `100x` is taken";
                self.error(&place, message, help);
            }
        }
        if let [(_, Some(fail)), (_, Some(pass))] = named {
            let tighter = if slo.good.is_some() {
                pass.factor > fail.factor || pass.plus > fail.plus
            } else {
                pass.factor < fail.factor || pass.plus < fail.plus
            };
            if tighter {
                let message =
                    format!("a version between `{pass}` and `{fail}` can neither pass nor fail");
                let help = "let `pass` be at least as wide as `fail`; what a step may add at the most is for the harm budget to say";
                self.warning(&join(place, &["margin", "pass"]), message, help);
            }
        }
    }

    pub(super) fn rollout(&mut self, rollout: &RolloutSpec) {
        let named = [
            ("canary", rollout.canary.is_some()),
            ("blue_green", rollout.blue_green.is_some()),
            ("all_at_once", rollout.all_at_once.is_some()),
        ];
        let mut named = named.iter().filter(|(_, is)| *is).map(|(name, _)| *name);
        if let Some(first) = named.next() {
            for other in named {
                let message =
                    format!("`{other}` stands beside `{first}`: a rollout has one strategy");
                self.error(&join(&ROLLOUT, &[other]), message, "keep one of them");
            }
        }
        let lease = join(&ROLLOUT, &["exposure_lease"]);
        self.span(&lease, rollout.exposure_lease, Duration::from_secs(5), HOUR);
        if let Some(blue_green) = &rollout.blue_green {
            self.span(
                &join(&ROLLOUT, &["blue_green", "keep"]),
                blue_green.keep,
                MS,
                WEEK,
            );
        }
        if let Some(canary) = &rollout.canary {
            self.canary(canary);
        }
        self.require(&rollout.require);
    }

    fn require(&mut self, required: &[Requirement]) {
        for (index, item) in required.iter().enumerate() {
            let number = index.to_string();
            let place = join(&ROLLOUT, &["require", &number]);
            let name = item.name();
            if required[..index].iter().any(|before| before.name() == name) {
                let message = format!("`{name}` is required twice");
                self.error(&place, message, "keep one of them");
            }
            if let Requirement::Scan(limit) = item {
                let age = join(&place, &["scan", "age"]);
                self.span(&age, limit.age, MINUTE, YEAR);
                if limit.max == Severity::Critical {
                    self.warning(
                        &join(&place, &["scan", "max"]),
                        "`critical` is the worst there is, so no finding ever blocks",
                        "write `high` to block critical findings; the scan must be there either way",
                    );
                }
            }
        }
    }

    fn canary(&mut self, canary: &Canary) {
        let at = |name: &'static str| join(&ROLLOUT, &["canary", name]);
        let steps = &canary.steps;
        if steps.is_empty() {
            let help = "write for instance `[1%, 10%, 50%, 100%]`, or delete the line for these";
            self.error(&at("steps"), "a canary has at least one step", help);
        }
        if !self.count(&at("steps"), steps.len(), STEPS_MAX) {
            return;
        }
        let mut before = Weight::ZERO;
        for (index, step) in steps.iter().enumerate() {
            let index = index.to_string();
            if *step <= before {
                let message = if before == Weight::ZERO {
                    "a step of 0% would expose nobody".to_owned()
                } else {
                    format!("the step {step} is not above the one before, {before}")
                };
                let help = "steps grow: each one is larger than the one before";
                self.error(&join(&at("steps"), &[&index]), message, help);
            }
            before = before.max(*step);
        }
        // Where a step could not be read it may be the last one.
        if let Some(last) = steps.last()
            && before != Weight::FULL
            && self.is_whole(&at("steps"))
        {
            let index = (steps.len() - 1).to_string();
            self.error(
                &join(&at("steps"), &[&index]),
                format!("the last step is {last}, so the release would never reach everybody"),
                "add `100%` at the end",
            );
        }
        self.span(&at("at_most"), canary.at_most, Duration::from_secs(1), WEEK);
        self.span(&at("hold_old"), canary.hold_old, MS, WEEK);
        if let Bake::AtLeast(least) = canary.bake {
            self.span(&at("bake"), least, MS, WEEK);
            if least > canary.at_most {
                let message = format!("bake `{least}` is longer than at_most, {}", canary.at_most);
                self.error(&at("bake"), message, "raise `at_most`, or lower `bake`");
            }
        }
        if canary.then == Then::Promote {
            self.warning(
                &at("then"),
                "a step without evidence goes on to more users",
                "`hold` keeps the exposure and tells people; the record says that the policy decided",
            );
        }
    }
}
