//! What is judged, and how sure the judge must be.

use serde::{Deserialize, Serialize};

use crate::Rate;

/// The edge between "within" and "beyond": the canary's bad ratio may be at most
/// `rho * baseline + delta`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Margin {
    /// Factor on the baseline's ratio.
    pub rho: f64,
    /// What is added to it, as a ratio (0.001 is 0.1 %).
    pub delta: f64,
}

impl Margin {
    /// None: both ratios alike.
    pub(crate) const EQUAL: Self = Self {
        rho: 1.0,
        delta: 0.0,
    };

    /// The canary's ratio on the edge when the baseline's is `p`.
    pub fn edge(self, p: f64) -> f64 {
        self.rho * p + self.delta
    }
}

/// Which direction is an improvement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Errors, memory, queue length.
    #[default]
    Lower,
    /// Conversions, cache hits.
    Higher,
}

impl Better {
    /// How many requests more than `bound` allows were bad; 0 where none is.
    pub(crate) fn excess(self, rate: Rate, bound: f64) -> f64 {
        let allowed = bound * rate.requests as f64;
        let excess = match self {
            Self::Lower => rate.bad as f64 - allowed,
            Self::Higher => allowed - rate.bad as f64,
        };
        excess.max(0.0)
    }
}

/// What an SLI measures, and so which test judges it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum SliKind {
    /// A count out of the requests: errors (lower is better), conversions (higher is better).
    Ratio {
        /// Which direction is an improvement.
        #[serde(default)]
        better: Better,
    },
    /// How long requests took, read from the tick's histogram.
    Latency {
        /// A request is bad when it took longer than this many milliseconds. The shape of the
        /// whole distribution is judged whether or not this is given.
        #[serde(default)]
        under_ms: Option<f64>,
    },
    /// Restarts, panics, OOM kills: events per instance and second.
    Events,
    /// A level such as memory in use, one number per instance and tick.
    Gauge {
        /// Which direction is an improvement.
        #[serde(default)]
        better: Better,
    },
    /// Completed work against the configured split.
    Throughput,
}

/// One service level indicator of the release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SliConfig {
    /// The name in the manifest; unique in the config.
    pub name: String,
    /// What it measures.
    #[serde(flatten)]
    pub kind: SliKind,
    /// The promised share of good requests, such as 0.999. Without it there is no absolute guard
    /// where no baseline exists.
    #[serde(default)]
    pub objective: Option<f64>,
    /// Beyond this the release fails. None: the default of the kind, see [`SliConfig::fail_margin`].
    #[serde(default)]
    pub fail: Option<Margin>,
    /// Within this a step passes. `delta` is replaced by harm budget / next weight where that is
    /// larger. None: the default of the kind, see [`SliConfig::pass_margin`].
    #[serde(default)]
    pub pass: Option<Margin>,
    /// Whether a step needs this SLI's proof to pass.
    #[serde(default = "yes")]
    pub critical: bool,
    /// This SLI's share of alpha before normalising. None: .62 for ratios, .38 for latency, .2 for
    /// others, a quarter of that where the SLI is not critical.
    #[serde(default)]
    pub weight: Option<f64>,
    /// The chance that this SLI ever rolls back a release that is within its margin. It is a part of
    /// the config's alpha; SLIs without one divide what is left. None: by `weight`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// The chance of passing a step that is beyond this SLI's pass margin. None: the config's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta: Option<f64>,
    /// What the next step may add of what this SLI calls bad, as a share of its requests. None: the
    /// config's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harm_budget: Option<f64>,
    /// It only speaks: it neither rolls a release back nor holds one, and has no part of alpha.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub advisory: bool,
}

fn yes() -> bool {
    true
}

impl SliConfig {
    /// A critical ratio SLI that counts bad requests, with default margins.
    pub fn errors(name: impl Into<String>) -> Self {
        Self::new(
            name,
            SliKind::Ratio {
                better: Better::Lower,
            },
        )
    }

    /// A critical latency SLI, with default margins.
    pub fn latency(name: impl Into<String>, under_ms: Option<f64>) -> Self {
        Self::new(name, SliKind::Latency { under_ms })
    }

    /// A critical SLI of any kind, with default margins.
    pub fn new(name: impl Into<String>, kind: SliKind) -> Self {
        Self {
            name: name.into(),
            kind,
            objective: None,
            fail: None,
            pass: None,
            critical: true,
            weight: None,
            alpha: None,
            beta: None,
            harm_budget: None,
            advisory: false,
        }
    }

    /// The margin beyond which the release fails.
    ///
    /// Defaults: errors 1.1 x + 0.01 %, latency exceedances 1.1 x + 0.02 %, higher-is-better ratios
    /// may lose 5 % of their level, events 1.5 x + one an hour and instance, gauges 1.1 x,
    /// throughput may lose 10 % of its share.
    pub fn fail_margin(&self) -> Margin {
        self.fail.unwrap_or(match self.kind {
            SliKind::Ratio {
                better: Better::Lower,
            } => Margin {
                rho: 1.1,
                delta: 1e-4,
            },
            SliKind::Ratio {
                better: Better::Higher,
            } => Margin {
                rho: 0.95,
                delta: 0.0,
            },
            SliKind::Latency { .. } => Margin {
                rho: 1.1,
                delta: 2e-4,
            },
            SliKind::Events => Margin {
                rho: 1.5,
                delta: 1.0 / 3600.0,
            },
            SliKind::Gauge {
                better: Better::Lower,
            } => Margin {
                rho: 1.1,
                delta: 0.0,
            },
            SliKind::Gauge {
                better: Better::Higher,
            }
            | SliKind::Throughput => Margin {
                rho: 0.9,
                delta: 0.0,
            },
        })
    }

    /// The margin within which a step passes, before the harm budget of the step is applied.
    ///
    /// Defaults: errors 1.25 x + 0.1 %, latency exceedances 1.5 x + 0.1 %, higher-is-better ratios
    /// may lose 10 % of their level.
    pub fn pass_margin(&self) -> Margin {
        self.pass.unwrap_or(match self.kind {
            SliKind::Ratio {
                better: Better::Lower,
            } => Margin {
                rho: 1.25,
                delta: 1e-3,
            },
            SliKind::Ratio {
                better: Better::Higher,
            } => Margin {
                rho: 0.9,
                delta: 0.0,
            },
            SliKind::Latency { .. } => Margin {
                rho: 1.5,
                delta: 1e-3,
            },
            SliKind::Events => Margin {
                rho: 3.0,
                delta: 4.0 / 3600.0,
            },
            SliKind::Gauge {
                better: Better::Lower,
            } => Margin {
                rho: 1.25,
                delta: 0.0,
            },
            SliKind::Gauge {
                better: Better::Higher,
            }
            | SliKind::Throughput => Margin {
                rho: 0.75,
                delta: 0.0,
            },
        })
    }

    /// Whether a step waits for this SLI's proof. Events, gauges and throughput can fail a release;
    /// they are too rare or too slow to prove anything within a step, so they only need data.
    pub fn needs_proof(&self) -> bool {
        self.critical
            && !self.advisory
            && matches!(self.kind, SliKind::Ratio { .. } | SliKind::Latency { .. })
    }

    /// Whether its test can prove a step at all: gauges and throughput only ever speak against one.
    pub(crate) fn can_prove(&self) -> bool {
        !self.advisory && !matches!(self.kind, SliKind::Gauge { .. } | SliKind::Throughput)
    }

    fn raw_weight(&self) -> f64 {
        self.weight.unwrap_or_else(|| {
            let share = match self.kind {
                SliKind::Ratio { .. } => 0.62,
                SliKind::Latency { .. } => 0.38,
                SliKind::Events | SliKind::Gauge { .. } | SliKind::Throughput => 0.2,
            };
            if self.critical { share } else { share / 4.0 }
        })
    }
}

/// What is judged and with which chances of error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Chance of ever rolling back a release that is within its margins. Above 0, below 1.
    pub alpha: f64,
    /// Chance of passing a step that is beyond its pass margin. Above 0, below 1.
    pub beta: f64,
    /// Bad requests, as a share of all requests of the service, that the next step may add.
    pub harm_budget: f64,
    /// Where there is no baseline, the release fails above `burn * (1 - objective)`. 14.4 is the
    /// Site Reliability Workbook's fastest page.
    pub burn: f64,
    /// Seconds without data of an SLI after which the verdict is `NotEnoughData`.
    pub stale_after: u64,
    /// Whether a step waits while the canary gets other requests than stable. Else it is only said.
    pub hold_unlike: bool,
    /// Upper edges of the latency buckets in milliseconds, rising. Bucket 0 lies below the first
    /// edge, the last bucket above the last one.
    pub latency_edges_ms: Vec<f64>,
    /// What is judged.
    pub slis: Vec<SliConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            alpha: 0.01,
            beta: 0.05,
            harm_budget: 1e-3,
            burn: 14.4,
            stale_after: 30,
            hold_unlike: true,
            latency_edges_ms: Vec::new(),
            slis: Vec::new(),
        }
    }
}

/// At most this many SLIs are judged together.
pub const MAX_SLIS: usize = 64;
/// At most this many latency edges.
pub const MAX_EDGES: usize = 512;

/// Why a config cannot be judged by.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// Alpha, beta or a ratio lies outside its open interval.
    #[error("{what} is {value}, but must lie above {low} and below {high}")]
    OutOfRange {
        /// The field.
        what: String,
        /// What was given.
        value: f64,
        /// Lower bound, excluded.
        low: f64,
        /// Upper bound, excluded.
        high: f64,
    },
    /// Nothing to judge.
    #[error(
        "no SLI is configured: a release that nothing watches cannot be judged; declare at least one SLO"
    )]
    NoSli,
    /// Too many SLIs.
    #[error("{0} SLIs are configured; at most {MAX_SLIS} are judged together")]
    TooManySlis(usize),
    /// Two SLIs share a name.
    #[error("two SLIs are named `{0}`; names must be unique")]
    DuplicateName(String),
    /// Every SLI is advisory.
    #[error(
        "every SLI is advisory: nothing could fail a release or pass a step; let at least one decide"
    )]
    OnlyAdvisory,
    /// The SLIs' own alphas leave nothing for the others, or are more than the whole.
    #[error(
        "the SLIs' own alphas add up to {own}, and {alpha} is the whole's{}",
        if *.others { ", of which the SLIs without one need a part" } else { "" }
    )]
    Shares {
        /// Their sum.
        own: f64,
        /// The config's alpha.
        alpha: f64,
        /// Whether there are SLIs without an alpha of their own.
        others: bool,
    },
    /// The edges do not rise, or there are too many, or none where latency is judged.
    #[error("latency_edges_ms: {0}")]
    Edges(String),
    /// A step's weight lies outside 0..=1.
    #[error("a step's weight is {0}, but must lie above 0 and at most at 1")]
    Weight(f64),
}

fn within(what: &str, value: f64, low: f64, high: f64) -> Result<(), ConfigError> {
    // Written so that NaN is refused too.
    if value > low && value < high {
        return Ok(());
    }
    Err(ConfigError::OutOfRange {
        what: what.to_owned(),
        value,
        low,
        high,
    })
}

impl Config {
    /// Errors and latency with every default: how a recording is judged when nothing else is said.
    pub fn errors_and_latency(latency_edges_ms: Vec<f64>) -> Self {
        let mut slis = vec![SliConfig::errors("errors")];
        if !latency_edges_ms.is_empty() {
            slis.push(SliConfig::latency("latency", None));
        }
        Self {
            latency_edges_ms,
            slis,
            ..Self::default()
        }
    }

    /// Checks every number.
    ///
    /// # Errors
    /// The first field that lies outside its range, by name.
    pub fn validate(&self) -> Result<(), ConfigError> {
        within("alpha", self.alpha, 0.0, 1.0)?;
        within("beta", self.beta, 0.0, 1.0)?;
        within("harm_budget", self.harm_budget, 0.0, 1.0)?;
        within("burn", self.burn, 0.0, 1e6)?;
        self.validate_edges()?;
        if self.slis.is_empty() {
            return Err(ConfigError::NoSli);
        }
        if self.slis.len() > MAX_SLIS {
            return Err(ConfigError::TooManySlis(self.slis.len()));
        }
        for (index, sli) in self.slis.iter().enumerate() {
            if self.slis[..index]
                .iter()
                .any(|other| other.name == sli.name)
            {
                return Err(ConfigError::DuplicateName(sli.name.clone()));
            }
            self.validate_sli(sli)?;
        }
        self.validate_shares()
    }

    fn validate_shares(&self) -> Result<(), ConfigError> {
        if self.slis.iter().all(|sli| sli.advisory) {
            return Err(ConfigError::OnlyAdvisory);
        }
        let (own, alpha) = (self.own_alphas(), self.alpha);
        let others = self.deciding().any(|sli| sli.alpha.is_none());
        // What was written as percentages adds up to a little more or less.
        let slack = alpha * 1e-9;
        if own > alpha + slack || (others && own >= alpha - slack) {
            return Err(ConfigError::Shares { own, alpha, others });
        }
        Ok(())
    }

    fn deciding(&self) -> impl Iterator<Item = &SliConfig> {
        self.slis.iter().filter(|sli| !sli.advisory)
    }

    fn own_alphas(&self) -> f64 {
        self.deciding().filter_map(|sli| sli.alpha).sum()
    }

    fn validate_edges(&self) -> Result<(), ConfigError> {
        let edges = &self.latency_edges_ms;
        if edges.len() > MAX_EDGES {
            return Err(ConfigError::Edges(format!(
                "{} edges, at most {MAX_EDGES} are kept",
                edges.len()
            )));
        }
        if edges.iter().any(|edge| !edge.is_finite() || *edge <= 0.0) {
            return Err(ConfigError::Edges(
                "every edge must be a positive number of milliseconds".to_owned(),
            ));
        }
        if edges.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(ConfigError::Edges("edges must rise".to_owned()));
        }
        Ok(())
    }

    fn validate_sli(&self, sli: &SliConfig) -> Result<(), ConfigError> {
        let name = &sli.name;
        if let Some(objective) = sli.objective {
            within(&format!("{name}: objective"), objective, 0.0, 1.0)?;
        }
        if let Some(weight) = sli.weight {
            within(&format!("{name}: weight"), weight, 0.0, 1e6)?;
        }
        for (what, chance) in [
            ("alpha", sli.alpha),
            ("beta", sli.beta),
            ("harm_budget", sli.harm_budget),
        ] {
            if let Some(chance) = chance {
                within(&format!("{name}: {what}"), chance, 0.0, 1.0)?;
            }
        }
        for (what, margin) in [("fail", sli.fail_margin()), ("pass", sli.pass_margin())] {
            within(&format!("{name}: {what}.rho"), margin.rho, 0.0, 1e3)?;
            // A gauge's is in its own unit: bytes, dollars.
            let (low, high) = match sli.kind {
                SliKind::Gauge { .. } => (-1e18, 1e18),
                _ => (-1.0, 1e6),
            };
            within(&format!("{name}: {what}.delta"), margin.delta, low, high)?;
        }
        if let SliKind::Latency { under_ms } = sli.kind {
            if self.latency_edges_ms.is_empty() {
                return Err(ConfigError::Edges(format!(
                    "`{name}` judges latency, but there are no edges"
                )));
            }
            if let Some(under) = under_ms {
                within(&format!("{name}: under_ms"), under, 0.0, 1e12)?;
            }
        }
        Ok(())
    }

    /// Each SLI's share of alpha. The shares add up to 1 at the most, so that the evidence's weighted
    /// sum reaches 1/alpha with a chance of alpha at the most (Ville; by the SLIs it is the union
    /// bound: each alone reaches its part with a chance of its part).
    ///
    /// An SLI with an alpha of its own has that part, an advisory one none; the others divide what is left
    /// by [`SliConfig::weight`].
    pub fn weights(&self) -> Vec<f64> {
        let left = 1.0 - self.own_alphas() / self.alpha;
        let dividing = self.deciding().filter(|sli| sli.alpha.is_none());
        let total: f64 = dividing.map(SliConfig::raw_weight).sum();
        self.slis
            .iter()
            .map(|sli| match sli.alpha {
                _ if sli.advisory => 0.0,
                Some(own) => own / self.alpha,
                None => left * (sli.raw_weight() / total),
            })
            .collect()
    }

    /// The log-evidence at which an SLI would fail a release by itself, as it is said to people: of an
    /// SLI with an alpha of its own that part's, else the whole's.
    pub fn fail_at(&self, sli: &SliConfig) -> f64 {
        -sli.alpha.unwrap_or(self.alpha).ln()
    }

    /// The log-evidence at which an SLI proves a step: ln(1/beta).
    pub fn pass_at(&self, sli: &SliConfig) -> f64 {
        -sli.beta.unwrap_or(self.beta).ln()
    }

    /// What the next step may add of what an SLI calls bad.
    pub fn harm_budget(&self, sli: &SliConfig) -> f64 {
        sli.harm_budget.unwrap_or(self.harm_budget)
    }
}
