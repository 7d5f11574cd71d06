//! Guesses from the files of a folder: name, command, address, health check, owner.
//!
//! Each guess is marked in the manifest for a person to confirm, so a few well-known signs are
//! enough. Reading is bounded: files up to 128 KiB, at most 200 sources, three folders deep.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use airboss_model::manifest::Detected;
use airboss_model::{ServiceName, id};

const FILE_MAX: u64 = 128 * 1024;
const SOURCES_MAX: usize = 200;
const DEPTH_MAX: usize = 3;
const SOURCES: [&str; 8] = ["rs", "go", "py", "js", "mjs", "ts", "java", "rb"];
const HEALTH: [&str; 6] = ["/healthz", "/health", "/livez", "/readyz", "/ping", "/up"];

/// Looks into `dir`.
///
/// # Errors
/// Where `dir` is no folder that can be read.
pub(super) fn look(dir: &Path) -> std::io::Result<Detected> {
    let dir = fs::canonicalize(dir)?;
    fs::read_dir(&dir)?;
    let file = |name: &str| read(&dir.join(name));
    let folder = dir.file_name().unwrap_or_default().to_string_lossy();
    let signs = Signs::in_sources(&dir);
    let mut from = Vec::new();
    let (mut name, mut command, mut env) = (None, None, Vec::new());
    let by_env = || vec![("PORT".to_owned(), "{port}".to_owned())];

    if let Some(text) = file("Cargo.toml").or_else(|| file("go.mod")) {
        let cargo = dir.join("Cargo.toml").is_file();
        from.push(if cargo { "Cargo.toml" } else { "go.mod" });
        let found = if cargo {
            key_in_section(&text, "[package]", "name")
        } else {
            text.lines()
                .find_map(|line| line.strip_prefix("module "))
                .and_then(|module| module.trim().rsplit('/').next())
                .map(str::to_owned)
        };
        let program = found.clone().unwrap_or_else(|| folder.to_string());
        command = Some(program_with_port(&program, signs.port_flag));
        env = if signs.port_flag {
            Vec::new()
        } else {
            by_env()
        };
        name = found;
    } else if let Some(text) = file("package.json") {
        from.push("package.json");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        name = json["name"].as_str().map(str::to_owned);
        let main = json["main"].as_str().unwrap_or("server.js");
        let main = main.trim_start_matches("./");
        command = Some(words(&["node", &format!("{{artifact}}/{main}")]));
        env = by_env();
    } else if let Some(text) = file("pyproject.toml").or_else(|| file("requirements.txt")) {
        let project = dir.join("pyproject.toml").is_file();
        from.push(if project {
            "pyproject.toml"
        } else {
            "requirements.txt"
        });
        name = key_in_section(&text, "[project]", "name");
        (command, env) = python(&text, by_env);
    } else if file("nginx.conf").is_some() {
        from.push("nginx.conf");
        command = Some(words(&[
            "nginx",
            "-p",
            "{artifact}",
            "-c",
            "nginx.conf",
            "-g",
            "daemon off;",
        ]));
    }

    // What is built says more than what it is built from.
    for place in ["dist", "bin"] {
        let Some(program) = only_program(&dir.join(place)) else {
            continue;
        };
        from.push(if place == "dist" { "dist/" } else { "bin/" });
        command = Some(program_with_port(&program, signs.port_flag));
        env = if signs.port_flag {
            Vec::new()
        } else {
            by_env()
        };
        name = name.or(Some(program));
        break;
    }
    if command.is_none() && dir.join("dist/index.html").is_file() {
        from.push("dist/index.html");
        command = Some(words(&[
            "python3",
            "-m",
            "http.server",
            "{port}",
            "--directory",
            "{artifact}",
        ]));
    }

    let mut port = None;
    if let Some(text) = file("Dockerfile") {
        port = exposed_port(&text);
        from.extend(port.map(|_| "Dockerfile"));
    }
    let name = [name.as_deref(), Some(&*folder), Some("service")]
        .into_iter()
        .flatten()
        .find_map(service_name)
        .ok_or_else(|| std::io::Error::other("the folder has no name to go by; use --name"))?;
    let command = command.unwrap_or_else(|| {
        env = by_env();
        program_with_port(name.as_str(), false)
    });
    Ok(Detected {
        owner: file("CODEOWNERS")
            .or_else(|| file(".github/CODEOWNERS"))
            .and_then(|text| owner(&text)),
        command,
        env,
        listen: format!("127.0.0.1:{}", port.unwrap_or(8080)),
        health: signs.health.map(str::to_owned),
        from: (!from.is_empty()).then(|| from.join(", ")),
        name,
    })
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn program_with_port(program: &str, flag: bool) -> Vec<String> {
    let program = format!("{{artifact}}/{program}");
    if flag {
        words(&[&program, "--port", "{port}"])
    } else {
        words(&[&program])
    }
}

type Command = (Option<Vec<String>>, Vec<(String, String)>);

fn python(text: &str, by_env: impl Fn() -> Vec<(String, String)>) -> Command {
    let has = |name: &str| text.contains(name);
    if has("uvicorn") || has("fastapi") || has("starlette") {
        let asgi = ["python3", "-m", "uvicorn", "main:app"];
        let rest = ["--app-dir", "{artifact}", "--port", "{port}"];
        (Some(words(&[asgi, rest].concat())), Vec::new())
    } else if has("gunicorn") || has("flask") || has("Flask") || has("django") {
        let wsgi = ["python3", "-m", "gunicorn", "--chdir", "{artifact}"];
        let rest = ["--bind", "127.0.0.1:{port}", "app:app"];
        let command = wsgi.iter().chain(&rest).copied().collect::<Vec<_>>();
        (Some(words(&command)), Vec::new())
    } else {
        (Some(words(&["python3", "{artifact}/main.py"])), by_env())
    }
}

/// A file's text, if it is a small text file.
fn read(path: &Path) -> Option<String> {
    let file = fs::File::open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// `name = "value"` in one section of a TOML file, where it stands in the usual form.
fn key_in_section(text: &str, section: &str, key: &str) -> Option<String> {
    let lines = text.lines().map(str::trim);
    lines
        .skip_while(|line| *line != section)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .find_map(|line| {
            let (name, value) = line.split_once('=')?;
            let value = value.trim().strip_prefix('"')?;
            (name.trim() == key).then(|| value.split('"').next().unwrap_or_default().to_owned())
        })
}

/// The only executable file of a folder, if there is exactly one.
fn only_program(folder: &Path) -> Option<String> {
    let mut programs = fs::read_dir(folder).ok()?.take(1_000).filter_map(|entry| {
        let entry = entry.ok()?;
        let executable = is_executable(&entry.metadata().ok()?);
        executable.then(|| entry.file_name().to_string_lossy().into_owned())
    });
    match (programs.next(), programs.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

#[cfg(unix)]
fn is_executable(file: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.is_file() && file.permissions().mode() & 0o111 != 0
}
#[cfg(not(unix))]
fn is_executable(file: &fs::Metadata) -> bool {
    file.is_file()
}

fn exposed_port(dockerfile: &str) -> Option<u16> {
    dockerfile
        .lines()
        .filter_map(|line| line.trim().strip_prefix("EXPOSE "))
        .find_map(|ports| ports.trim().split([' ', '/']).next()?.parse().ok())
        .filter(|port| *port > 0)
}

/// The team behind `*` in a CODEOWNERS file.
fn owner(text: &str) -> Option<String> {
    let line = text.lines().rev().find(|line| line.starts_with("* "))?;
    let first = line.split_whitespace().nth(1)?;
    let name = first.trim_start_matches('@').rsplit('/').next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// A name made fit for a service: `@acme/Check_Out` becomes `check-out`.
fn service_name(text: &str) -> Option<ServiceName> {
    let last = text.rsplit('/').next().unwrap_or_default();
    let label: String = last
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .take(id::NAME_MAX)
        .collect();
    label.trim_matches('-').parse().ok()
}

/// What the sources say about a program's ways.
#[derive(Default)]
struct Signs {
    port_flag: bool,
    health: Option<&'static str>,
}

impl Signs {
    fn in_sources(dir: &Path) -> Self {
        let mut signs = Self::default();
        let mut left = SOURCES_MAX;
        signs.visit(dir, 0, &mut left);
        signs
    }

    fn visit(&mut self, dir: &Path, depth: usize, left: &mut usize) {
        let Ok(entries) = fs::read_dir(dir) else {
            return;
        };
        // Sorted, so that the same folder gives the same guesses.
        let mut paths: Vec<_> = entries.take(1_000).flatten().collect();
        paths.sort_by_key(fs::DirEntry::file_name);
        for entry in paths {
            let name = entry.file_name().to_string_lossy().into_owned();
            let (path, kind) = (entry.path(), entry.file_type());
            // Links are not followed: they could lead in a circle.
            if kind.as_ref().is_ok_and(fs::FileType::is_dir) {
                let others = ["target", "node_modules", "vendor", "dist", "tests", "test"];
                let own = !name.starts_with('.') && !others.contains(&name.as_str());
                if own && depth < DEPTH_MAX {
                    self.visit(&path, depth + 1, left);
                }
                continue;
            }
            let source = path.extension().and_then(|end| end.to_str());
            if !source.is_some_and(|end| SOURCES.contains(&end)) || *left == 0 {
                continue;
            }
            *left -= 1;
            let text = read(&path).unwrap_or_default();
            self.port_flag |= text.contains("--port");
            let quoted = |path: &&&str| {
                ['"', '\'', '`']
                    .iter()
                    .any(|q| text.contains(&format!("{q}{path}{q}")))
            };
            let found = HEALTH.iter().find(quoted).copied();
            self.health = self.health.or(found);
        }
    }
}
