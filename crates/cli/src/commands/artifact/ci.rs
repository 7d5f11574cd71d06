//! What CI systems tell of a run in their environment.

use airboss_server::api::evidence::BuildView;

/// A CI system that is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ci {
    /// GitHub Actions.
    GitHub,
    /// GitLab CI.
    GitLab,
    /// Jenkins.
    Jenkins,
}

/// What a CI system told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Which.
    pub ci: Ci,
    /// What.
    pub build: BuildView,
}

impl Ci {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::GitHub => "GitHub Actions",
            Self::GitLab => "GitLab CI",
            Self::Jenkins => "Jenkins",
        }
    }

    /// Reads what the environment tells; `variable` looks one up. None outside CI.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Option<Told> {
        let get = |name: &str| {
            let value = variable(name)?.trim().to_owned();
            (!value.is_empty()).then_some(value)
        };
        let is = |name: &str| get(name).is_some_and(|it| it == "true");
        let (ci, build) = if is("GITHUB_ACTIONS") {
            let repository = get("GITHUB_SERVER_URL")
                .zip(get("GITHUB_REPOSITORY"))
                .map(|(server, name)| format!("{server}/{name}"));
            let attempt = get("GITHUB_RUN_ATTEMPT").filter(|it| it != "1");
            let run = repository.as_ref().zip(get("GITHUB_RUN_ID"));
            let run = run.map(|(repository, id)| format!("{repository}/actions/runs/{id}"));
            let build = BuildView {
                commit: get("GITHUB_SHA"),
                reference: get("GITHUB_REF"),
                run: run.map(|run| match attempt {
                    Some(attempt) => format!("{run}/attempts/{attempt}"),
                    None => run,
                }),
                actor: get("GITHUB_TRIGGERING_ACTOR").or_else(|| get("GITHUB_ACTOR")),
                repository,
                builder: get("RUNNER_ENVIRONMENT")
                    .map_or(Some("github-actions".to_owned()), |kind| {
                        Some(format!("github-actions/{kind}"))
                    }),
            };
            (Self::GitHub, build)
        } else if is("GITLAB_CI") {
            let tag = get("CI_COMMIT_TAG").map(|tag| format!("refs/tags/{tag}"));
            let branch = || get("CI_COMMIT_BRANCH").or_else(|| get("CI_COMMIT_REF_NAME"));
            let build = BuildView {
                commit: get("CI_COMMIT_SHA"),
                reference: tag.or_else(|| branch().map(|name| format!("refs/heads/{name}"))),
                run: get("CI_JOB_URL").or_else(|| get("CI_PIPELINE_URL")),
                actor: get("GITLAB_USER_LOGIN"),
                repository: get("CI_PROJECT_URL"),
                builder: get("CI_SERVER_HOST").map(|host| format!("gitlab-ci/{host}")),
            };
            (Self::GitLab, build)
        } else if get("JENKINS_URL").is_some() && get("BUILD_URL").is_some() {
            let branch = get("GIT_BRANCH").or_else(|| get("BRANCH_NAME"));
            let build = BuildView {
                commit: get("GIT_COMMIT"),
                reference: branch.map(|name| {
                    let name = name.strip_prefix("origin/").unwrap_or(&name);
                    format!("refs/heads/{name}")
                }),
                run: get("BUILD_URL"),
                // Set by the plugin «build user vars»; without it nobody is named.
                actor: get("BUILD_USER_ID"),
                repository: get("GIT_URL"),
                builder: get("JENKINS_URL")
                    .map(|url| format!("jenkins/{}", url.trim_end_matches('/'))),
            };
            (Self::Jenkins, build)
        } else {
            return None;
        };
        Some(Told { ci, build })
    }

    /// What the environment of this process tells.
    pub fn here() -> Option<Told> {
        Self::read(|name| std::env::var(name).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Variables as each system's documentation describes them; written by hand, not captured from a run.
    fn told(environment: &str) -> Option<Told> {
        let find = |name: &str| {
            environment.lines().find_map(|line| {
                let (is, value) = line.split_once('=')?;
                (is == name).then(|| value.to_owned())
            })
        };
        Ci::read(find)
    }

    #[test]
    fn github_actions_tells_commit_run_actor_and_ref() {
        let environment = include_str!("../../../tests/ci/github.env");
        insta::assert_debug_snapshot!(told(environment).unwrap());
        let again = environment.replace("RUN_ATTEMPT=1", "RUN_ATTEMPT=3");
        let run = told(&again).unwrap().build.run.unwrap();
        assert!(run.ends_with("/attempts/3"), "{run}");
    }

    #[test]
    fn gitlab_ci_tells_commit_run_actor_and_ref() {
        let environment = include_str!("../../../tests/ci/gitlab.env");
        insta::assert_debug_snapshot!(told(environment).unwrap());
        let tagged = format!("{environment}CI_COMMIT_TAG=v1.4.0\n");
        let reference = told(&tagged).unwrap().build.reference;
        assert_eq!(reference.as_deref(), Some("refs/tags/v1.4.0"));
    }

    #[test]
    fn jenkins_tells_commit_run_and_branch() {
        let environment = include_str!("../../../tests/ci/jenkins.env");
        insta::assert_debug_snapshot!(told(environment).unwrap());
    }

    #[test]
    fn a_desk_is_no_ci() {
        assert_eq!(told("HOME=/home/ann\nGITHUB_SHA=abc\n"), None);
        assert_eq!(told("GITHUB_ACTIONS=false\n"), None);
    }
}
