use std::fs;
use std::path::Path;

use airboss_cli::home::{HomeError, Whereabouts, folder};

#[test]
fn the_nearest_data_folder_upward_is_found() {
    let root = tempfile::tempdir().unwrap();
    let deep = root.path().join("a/b/c");
    fs::create_dir_all(&deep).unwrap();
    assert_eq!(folder(None, &deep), deep.join(".airboss"));
    fs::create_dir(root.path().join(".airboss")).unwrap();
    assert_eq!(folder(None, &deep), root.path().join(".airboss"));
    fs::create_dir(root.path().join("a/b/.airboss")).unwrap();
    assert_eq!(folder(None, &deep), root.path().join("a/b/.airboss"));
}

#[test]
fn a_named_data_folder_goes_before_all_others() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join(".airboss")).unwrap();
    let named = |named: &str| folder(Some(Path::new(named)), root.path());
    assert_eq!(named("/srv/airboss"), Path::new("/srv/airboss"));
    assert_eq!(named("data"), root.path().join("data"));
    assert_eq!(named(""), root.path().join(".airboss"));
}

fn home(server: &str, token: Option<&str>) -> (tempfile::TempDir, Whereabouts) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("server.json"), server).unwrap();
    if let Some(token) = token {
        fs::write(folder.path().join("token"), token).unwrap();
    }
    let places = Whereabouts {
        home: folder.path().to_owned(),
        ..Whereabouts::default()
    };
    (folder, places)
}

const FILE: &str = r#"{"url": "http://127.0.0.1:7700/", "pid": 4711, "more": true}"#;

#[test]
fn the_address_and_token_come_from_the_data_folder() {
    let (_folder, places) = home(FILE, Some("secret\n"));
    let server = places.server().unwrap();
    assert_eq!(server.url, "http://127.0.0.1:7700");
    assert_eq!(server.token.as_deref(), Some("secret"));
}

#[test]
fn the_folders_token_goes_to_no_other_server() {
    let (_folder, mut places) = home(FILE, Some("secret"));
    places.server = Some("http://other.example:7700".to_owned());
    let server = places.server().unwrap();
    assert_eq!(server.url, "http://other.example:7700");
    assert_eq!(server.token, None);
    places.token = Some("theirs".to_owned());
    assert_eq!(places.server().unwrap().token.as_deref(), Some("theirs"));
    places.token = None;
    places.server = Some("127.0.0.1:7700/".to_owned());
    assert_eq!(places.server().unwrap().token.as_deref(), Some("secret"));
}

#[test]
fn a_token_is_never_in_debug_output() {
    let (_folder, places) = home(FILE, Some("secret"));
    assert!(!format!("{:?}", places.server().unwrap()).contains("secret"));
}

#[test]
fn a_garbled_server_file_is_told_with_its_place() {
    let (folder, places) = home("{\"url\": ", None);
    let error = places.server().unwrap_err();
    assert!(matches!(error, HomeError::Garbled { .. }));
    let told = error.to_string();
    assert!(told.contains(folder.path().to_str().unwrap()) && told.contains("airboss up"));
}

#[test]
fn a_token_file_that_others_may_read_is_noticed() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, places) = home(FILE, Some("secret"));
    let file = folder.path().join("token");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(places.exposed_token(), Some(file.clone()));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(places.exposed_token(), None);
}
