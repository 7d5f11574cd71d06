//! Short ways to write what tests ship.

use std::sync::Arc;

use airboss_engine::Request;
use airboss_model::evidence::{ItemState, ItemVerdict, Requirement, ScanLimit};
use airboss_model::manifest::{
    AllAtOnce, Canary, Health, Metadata, ProcessTarget, RolloutSpec, Service, ServiceSpec, Target,
    Then, Tier, WhenBusy,
};
use airboss_model::traffic::Weight;
use airboss_model::{Digest, RolloutId, Span};

pub const LANE: &str = "checkout/production";
pub const START: &str = "2026-01-05T09:00:00Z";

pub fn rollout(number: u64) -> RolloutId {
    format!("checkout-{number}").parse().unwrap()
}
pub fn percent(percent: u16) -> Weight {
    Weight::from_basis_points(percent * 100)
}

/// Four instances; a canary of 10 %, 50 %, 100 %.
pub fn service() -> Service {
    Service {
        metadata: Metadata {
            name: "checkout".to_owned().try_into().unwrap(),
            owner: Some("payments".to_owned()),
            tier: Tier::Critical,
            labels: Default::default(),
        },
        spec: ServiceSpec {
            target: Target::Process(ProcessTarget {
                command: vec!["{artifact}/checkout".to_owned()],
                instances: 4,
                listen: "127.0.0.1:8080".to_owned(),
                env: Default::default(),
                health: Health::default(),
                drain: Span::secs(10),
                sticky: None,
                force_header: None,
                response_timeout: Span::secs(30),
                metrics: "/metrics".to_owned(),
            }),
            slos: Vec::new(),
            guardrails: Vec::new(),
            judge: Default::default(),
            requests: Default::default(),
            rollout: RolloutSpec {
                canary: Some(Canary {
                    steps: [10, 50, 100].map(percent).to_vec(),
                    ..Canary::default()
                }),
                ..RolloutSpec::default()
            },
            retention: Default::default(),
        },
    }
}

/// A request for `checkout@N.0.0` by the rollout `checkout-N`, with a content of its own.
pub fn release(number: u64) -> Request {
    content(number, number)
}
/// A request by the rollout `checkout-NUMBER` for version and content `of`.
pub fn content(number: u64, of: u64) -> Request {
    let byte = u8::try_from(of).unwrap();
    Request {
        rollout: rollout(number),
        release: format!("checkout@{of}.0.0").parse().unwrap(),
        digest: Digest::from_sha256([byte; 32]),
        service: service().into(),
        by: "ana".to_owned(),
        at: START.parse().unwrap(),
        is_return: false,
        slow: None,
        evidence: Vec::new(),
    }
}

/// Changes to a request, to be chained.
pub trait With: Sized {
    fn when_busy(self, policy: WhenBusy) -> Self;
    fn at_deadline(self, then: Then) -> Self;
    fn all_at_once(self) -> Self;
    fn bake(self, seconds: u64) -> Self;
    fn instances(self, count: u32) -> Self;
    fn drain(self, seconds: u64) -> Self;
    fn requires(self, items: &[Requirement]) -> Self;
}

pub const SCAN: Requirement = Requirement::Scan(ScanLimit {
    max: airboss_model::evidence::Severity::High,
    age: Span::secs(7 * 86_400),
});

/// How an item stands, with plausible words.
pub fn item(item: Requirement, state: ItemState) -> ItemVerdict {
    let (reason, remedy) = match state {
        ItemState::Passed => ("as required", None),
        ItemState::Missing => ("none is known", Some("airboss artifact add")),
        ItemState::Failed => ("2 of 40 failed", Some("airboss artifact add")),
        ItemState::Stale => ("it is 9d old, 7d are allowed", Some("scan again")),
        ItemState::BadlySigned => ("the key `ci` was revoked", Some("sign it anew")),
    };
    ItemVerdict {
        item,
        state,
        reason: reason.to_owned(),
        remedy: remedy.map(str::to_owned),
        rests_on: Vec::new(),
        good_until: None,
    }
}

impl With for Request {
    fn when_busy(mut self, policy: WhenBusy) -> Self {
        Arc::make_mut(&mut self.service).spec.rollout.when_busy = policy;
        self
    }
    fn at_deadline(mut self, then: Then) -> Self {
        canary(&mut self).then = then;
        self
    }
    fn all_at_once(mut self) -> Self {
        Arc::make_mut(&mut self.service).spec.rollout.canary = None;
        Arc::make_mut(&mut self.service).spec.rollout.all_at_once = Some(AllAtOnce {});
        self
    }
    fn bake(mut self, seconds: u64) -> Self {
        canary(&mut self).bake = airboss_model::manifest::Bake::AtLeast(Span::secs(seconds));
        self
    }
    fn instances(mut self, count: u32) -> Self {
        process(&mut self).instances = count;
        self
    }
    fn drain(mut self, seconds: u64) -> Self {
        process(&mut self).drain = Span::secs(seconds);
        self
    }
    fn requires(mut self, items: &[Requirement]) -> Self {
        Arc::make_mut(&mut self.service).spec.rollout.require = items.to_vec();
        self
    }
}

fn canary(request: &mut Request) -> &mut Canary {
    Arc::make_mut(&mut request.service)
        .spec
        .rollout
        .canary
        .as_mut()
        .unwrap()
}
fn process(request: &mut Request) -> &mut ProcessTarget {
    let Target::Process(process) = &mut Arc::make_mut(&mut request.service).spec.target;
    process
}
