//! Where uploads wait until they are whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::PlaceError;

/// An upload of another controller that nobody has written to for so long broke off: its controller
/// did not come back to clear it away.
const BROKE_OFF_AFTER: Duration = Duration::from_secs(24 * 3600);

/// The folder for a controller's uploads. What it left there itself broke off, as it only starts
/// now; another's uploads may be under way.
pub(super) fn prepare(folder: &Path, controller: &str) -> Result<PathBuf, PlaceError> {
    let all = folder.join("incoming");
    let own = all.join(controller);
    let fail = |source| PlaceError::Folder {
        path: all.display().to_string(),
        source,
    };
    fs::create_dir_all(&all).map_err(fail)?;
    clear(&all, &own).map_err(fail)?;
    fs::create_dir_all(&own).map_err(fail)?;
    Ok(own)
}

fn clear(all: &Path, own: &Path) -> io::Result<()> {
    for entry in fs::read_dir(all)? {
        let path = entry?.path();
        if path == own {
            fs::remove_dir_all(&path)?;
        } else if path.is_dir() {
            for upload in fs::read_dir(&path)? {
                remove_old(&upload?.path())?;
            }
        } else {
            remove_old(&path)?;
        }
    }
    Ok(())
}

fn remove_old(upload: &Path) -> io::Result<()> {
    let is_gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let written = match fs::metadata(upload).and_then(|it| it.modified()) {
        Ok(written) => written,
        // Its controller was quicker.
        Err(error) if is_gone(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    #[allow(
        clippy::disallowed_methods,
        reason = "files carry the system's time, not a controller's"
    )]
    let age = SystemTime::now().duration_since(written);
    if age.is_ok_and(|age| age > BROKE_OFF_AFTER) {
        match fs::remove_file(upload) {
            Err(error) if !is_gone(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, FileTimes};
    use std::time::{Duration, SystemTime};

    use super::{BROKE_OFF_AFTER, prepare};

    #[test]
    fn a_start_clears_its_own_uploads_and_leaves_those_of_others_that_are_alive() {
        let folder = tempfile::tempdir().unwrap();
        let one = prepare(folder.path(), "one").unwrap();
        let two = prepare(folder.path(), "two").unwrap();
        let [mine, alive, dead] = [one.join("mine"), two.join("alive"), two.join("dead")];
        // A version before this one kept uploads side by side.
        let old = folder.path().join("incoming/old");
        for path in [&mine, &alive, &dead, &old] {
            fs::write(path, b"part").unwrap();
        }
        #[allow(clippy::disallowed_methods, reason = "as above")]
        let then = SystemTime::now() - BROKE_OFF_AFTER - Duration::from_secs(60);
        for path in [&dead, &old] {
            let file = File::options().write(true).open(path).unwrap();
            file.set_times(FileTimes::new().set_modified(then)).unwrap();
        }
        assert_eq!(prepare(folder.path(), "one").unwrap(), one);
        let there = [&mine, &alive, &dead, &old].map(|path| path.exists());
        assert_eq!(there, [false, true, false, false]);
    }
}
