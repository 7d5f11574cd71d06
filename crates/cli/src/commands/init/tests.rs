use std::io::Cursor;

use airboss_model::manifest::{Resource, Target};

use super::*;

struct Ran {
    code: ExitCode,
    out: String,
    err: String,
}

fn init(args: &InitArgs, answers: Option<&str>) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut answers = answers.map(|text| Cursor::new(text.to_owned()));
    let answers = answers.as_mut().map(|text| text as &mut dyn BufRead);
    let code = run(args, answers, &mut out, &mut err).unwrap();
    Ran {
        code,
        out: String::from_utf8(out).unwrap(),
        err: String::from_utf8(err).unwrap(),
    }
}

fn args(dir: &Path) -> InitArgs {
    InitArgs {
        dir: dir.to_owned(),
        name: None,
        listen: None,
        force: false,
        yes: false,
    }
}

struct Folder {
    _temporary: tempfile::TempDir,
    path: PathBuf,
}

impl Folder {
    fn path(&self) -> &Path {
        &self.path
    }
}

/// A folder `My Folder` with these files; a name that ends in `*` makes an executable.
fn folder(files: &[(&str, &str)]) -> Folder {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("My Folder");
    fs::create_dir(&folder).unwrap();
    for (name, text) in files {
        let path = folder.join(name.trim_end_matches('*'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        #[cfg(unix)]
        if name.ends_with('*') {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    Folder {
        _temporary: temporary,
        path: folder,
    }
}

/// What init makes of a folder: name, owner, command, environment, address, health.
fn guess(files: &[(&str, &str)]) -> String {
    let folder = folder(files);
    let ran = init(&args(folder.path()), None);
    assert_eq!(ran.code, ExitCode::SUCCESS, "{}", ran.err);
    let text = fs::read_to_string(folder.path().join(MANIFEST)).unwrap();
    let documents = manifest::parse(MANIFEST, &text).unwrap();
    let Resource::Service(service) = &documents[0].resource;
    let Target::Process(process) = &service.spec.target;
    let name = service.metadata.name.as_str();
    let from = text.lines().nth(1).unwrap_or_default();
    format!(
        "{name} | {} | {:?} | {:?} | {} | {:?}\n  {from}",
        service.metadata.owner.as_deref().unwrap_or("-"),
        process.command,
        process.env,
        process.listen,
        process.health.http,
    )
}

#[test]
fn a_folder_tells_what_runs_in_it() {
    let cargo = "[workspace]\nname = \"no\"\n[package]\nedition = \"2024\"\nname = \"check_out\"\n[[bin]]\nname = \"x\"\n";
    let guesses = [
        (
            "Rust",
            guess(&[
                ("Cargo.toml", cargo),
                ("src/main.rs", "route(\"/healthz\"); \"--port\""),
            ]),
        ),
        (
            "Go",
            guess(&[
                ("go.mod", "module github.com/acme/cart\n\ngo 1.24\n"),
                ("main.go", "mux.Handle(`/health`)"),
                ("bin/cartd*", ""),
            ]),
        ),
        (
            "Node",
            guess(&[
                (
                    "package.json",
                    r#"{"name":"@acme/web","main":"./lib/index.js"}"#,
                ),
                ("Dockerfile", "FROM node\nEXPOSE 3000/tcp\n"),
            ]),
        ),
        (
            "FastAPI",
            guess(&[
                ("requirements.txt", "fastapi==1\nuvicorn\n"),
                ("main.py", "@app.get('/ping')"),
            ]),
        ),
        (
            "Flask",
            guess(&[(
                "pyproject.toml",
                "[project]\nname = \"shop\"\ndependencies = [\"flask\"]\n",
            )]),
        ),
        (
            "Python",
            guess(&[("pyproject.toml", "[project]\nname = \"shop\"\n")]),
        ),
        (
            "nginx",
            guess(&[
                ("nginx.conf", "http {}"),
                ("CODEOWNERS", "# all\n* @acme/edge\n"),
            ]),
        ),
        ("built", guess(&[("dist/server*", ""), ("dist/README", "")])),
        ("static", guess(&[("dist/index.html", "<p>")])),
    ];
    let text: Vec<String> = guesses
        .iter()
        .map(|(name, line)| format!("{name}: {line}"))
        .collect();
    let text = text.join("\n");
    insta::assert_snapshot!(text);
}

#[test]
fn an_empty_or_odd_folder_still_gives_a_manifest_that_is_taken() {
    let odd = folder(&[
        ("package.json", "{ not json"),
        ("Dockerfile", "EXPOSE $PORT\nEXPOSE 0\n"),
        ("CODEOWNERS", "* \n"),
    ]);
    let empty = folder(&[]);
    for folder in [&odd, &empty] {
        let ran = init(&args(folder.path()), None);
        assert_eq!((ran.code, ran.err.as_str()), (ExitCode::SUCCESS, ""));
    }
}

#[test]
fn the_manifest_and_its_schema_stand_where_editors_look() {
    let folder = folder(&[("go.mod", "module x/cart\n")]);
    let ran = init(&args(folder.path()), None);
    assert!(ran.out.contains("for the service cart"), "{}", ran.out);
    let text = fs::read_to_string(folder.path().join(MANIFEST)).unwrap();
    let first = text.lines().next().unwrap();
    let schema = first.rsplit('=').next().unwrap();
    let schema = fs::read_to_string(folder.path().join(schema)).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert_eq!(schema, manifest::schema());
}

#[test]
fn an_existing_manifest_is_only_replaced_by_force() {
    let folder = folder(&[(MANIFEST, "mine")]);
    let path = folder.path().join(MANIFEST);
    let ran = init(&args(folder.path()), None);
    assert_eq!(ran.code, Exit::Usage.into());
    assert!(ran.err.contains("--force"), "{}", ran.err);
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    assert!(!folder.path().join(SCHEMA_FILE).exists());
    let mut args = args(folder.path());
    args.force = true;
    assert_eq!(init(&args, None).code, ExitCode::SUCCESS);
    assert_ne!(fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn answers_replace_the_guesses_and_a_bad_name_is_asked_again() {
    let folder = folder(&[]);
    let answers = "Bad Name\ncart\n{artifact}/cart -p {port}\n127.0.0.1:9000\n/ok\n";
    let ran = init(&args(folder.path()), Some(answers));
    assert_eq!((ran.code, ran.err.as_str()), (ExitCode::SUCCESS, ""));
    assert!(ran.out.contains("lowercase letters"), "{}", ran.out);
    let text = fs::read_to_string(folder.path().join(MANIFEST)).unwrap();
    let documents = manifest::parse(MANIFEST, &text).unwrap();
    let Resource::Service(service) = &documents[0].resource;
    let Target::Process(process) = &service.spec.target;
    assert_eq!(service.metadata.name.as_str(), "cart");
    assert_eq!(process.command, ["{artifact}/cart", "-p", "{port}"]);
    assert_eq!(process.listen, "127.0.0.1:9000");
    assert_eq!(process.health.http.as_deref(), Some("/ok"));
}

#[test]
fn answers_that_end_early_leave_the_guesses() {
    let folder = folder(&[("go.mod", "module x/cart\n")]);
    assert_eq!(init(&args(folder.path()), Some("")).code, ExitCode::SUCCESS);
}
