//! The whole computation behind a verdict, for those who want to check it.

use serde::{Deserialize, Serialize};

use crate::{Judge, Margin, latency::LatencyTest, member::RatioMember, sli::Test, words};

/// Every number that the verdict rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Evidence over all SLIs: the weighted sum of theirs.
    pub e: f64,
    /// The release fails at this `e`: 1/alpha.
    pub fails_at: f64,
    /// Each SLI.
    pub slis: Vec<SliExplanation>,
}

/// One SLI's part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SliExplanation {
    /// The SLI.
    pub name: String,
    /// Its share of alpha.
    pub weight: f64,
    /// Its evidence.
    pub e: f64,
    /// Its tests.
    pub members: Vec<MemberExplanation>,
    /// Measured dispersion of stable, 1 for independent requests.
    pub phi: f64,
}

/// One test's part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberExplanation {
    /// What is compared.
    pub name: String,
    /// Its evidence against the release.
    pub e: f64,
    /// Stable's ratio as estimated, for comparisons of ratios.
    pub baseline_ratio: Option<f64>,
    /// The margin it must stay within.
    pub margin: Option<Margin>,
    /// Natural logarithm of its proof for the step.
    pub log_pass: Option<f64>,
}

fn ratio(name: &str, member: &RatioMember) -> MemberExplanation {
    MemberExplanation {
        name: name.to_owned(),
        e: member.e(),
        baseline_ratio: Some(member.baseline_ratio()),
        margin: Some(member.fail_margin()),
        log_pass: Some(member.log_pass()),
    }
}

fn other(name: &str, e: f64) -> MemberExplanation {
    MemberExplanation {
        name: name.to_owned(),
        e,
        baseline_ratio: None,
        margin: None,
        log_pass: None,
    }
}

fn latency(test: &LatencyTest) -> Vec<MemberExplanation> {
    let mut members = vec![other("distribution", test.histogram_e())];
    let names = [
        "above stable's p50",
        "above stable's p90",
        "above stable's p99",
        "above stable's p99.9",
    ];
    members.extend(
        names
            .into_iter()
            .zip(test.exceedances())
            .map(|(name, member)| ratio(name, member)),
    );
    members.extend(
        test.threshold()
            .map(|member| ratio("above the declared threshold", member)),
    );
    members
}

impl Judge {
    /// The whole computation as it stands.
    pub fn explain(&self) -> Explanation {
        let slis = self
            .slis
            .iter()
            .zip(&self.config.slis)
            .zip(&self.weights)
            .map(|((state, sli), weight)| {
                let mut members = match &state.test {
                    Test::Ratio(member) => vec![ratio(&sli.name, member)],
                    Test::Latency(test) => latency(test),
                    Test::Gauge(test) => vec![other("level and slope", test.e())],
                    Test::Throughput(test) => vec![other("share of completions", test.e())],
                };
                members.extend(
                    state
                        .guard
                        .as_ref()
                        .map(|guard| other("absolute guard", guard.e())),
                );
                SliExplanation {
                    name: sli.name.clone(),
                    weight: *weight,
                    e: state.e(),
                    members,
                    phi: state.dispersion.phi(),
                }
            });
        Explanation {
            e: self.e(),
            fails_at: 1.0 / self.config.alpha,
            slis: slis.collect(),
        }
    }
}

impl std::fmt::Display for Explanation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "e = {} (fails at {})",
            words::significant(self.e),
            words::significant(self.fails_at)
        )?;
        for sli in &self.slis {
            let (share, e) = (words::percent(sli.weight), words::significant(sli.e));
            let share = match sli.weight {
                0.0 => "advisory".to_owned(),
                _ => format!("{share} of alpha"),
            };
            writeln!(
                f,
                "  {}: {share}, e = {e}, dispersion {}",
                sli.name,
                words::significant(sli.phi)
            )?;
            for member in &sli.members {
                write!(
                    f,
                    "    {}: e = {}",
                    member.name,
                    words::significant(member.e)
                )?;
                if let (Some(p), Some(margin)) = (member.baseline_ratio, member.margin) {
                    let (edge, p) = (words::percent(margin.edge(p)), words::percent(p));
                    write!(f, ", stable {p}, within the margin up to {edge}")?;
                }
                if let Some(log_pass) = member.log_pass {
                    write!(f, ", for the step {}", words::odds(log_pass))?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}
