//! What instances write. Each instance appends to its file itself, so that nothing is lost
//! and nothing blocks while no agent runs.
//!
//! A file above [`ROTATE_AT`] is copied to `NAME.log.1` and emptied; lines written in the moment
//! between the two are lost. So an instance's logs take about twice that at the most.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::protocol::LogLine;

/// Size in bytes at which a log file is rotated (10 MiB).
pub(super) const ROTATE_AT: u64 = 10 << 20;
/// Most lines of one instance in an answer.
const MOST_LINES: usize = 10_000;
/// Most bytes that are read for an answer, of all instances together (4 MiB).
const MOST_BYTES: u64 = 4 << 20;
/// Most characters of one line in an answer.
const MOST_CHARS: usize = 4_096;
/// Most log files of instances that are gone.
const MOST_OLD_FILES: usize = 200;

/// The folder with the instances' logs.
#[derive(Debug, Clone)]
pub(super) struct Logs {
    folder: PathBuf,
}

impl Logs {
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    pub fn path(&self, instance: &str) -> PathBuf {
        self.folder.join(format!("{instance}.log"))
    }

    /// Opens an instance's file for a new start.
    pub fn append(&self, instance: &str) -> io::Result<File> {
        self.rotate(instance)?;
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path(instance))
    }

    /// Moves the content away where there is too much.
    pub fn rotate(&self, instance: &str) -> io::Result<()> {
        let path = self.path(instance);
        let size = match fs::metadata(&path) {
            Ok(meta) => meta.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        if size > ROTATE_AT {
            // An instance that writes faster than we look would make the copy fill the disk.
            let mut from = File::open(&path)?;
            from.seek(SeekFrom::Start(size - ROTATE_AT))?;
            let mut to = File::create(path.with_extension("log.1"))?;
            let copied = io::copy(&mut from.take(ROTATE_AT), &mut to);
            // Emptied in any case: on a full disk the old lines are what we can spare.
            OpenOptions::new().write(true).open(&path)?.set_len(0)?;
            copied?;
        }
        Ok(())
    }

    /// The last lines of an instance, oldest first; none where it never wrote.
    pub fn tail(&self, instance: &str, lines: usize) -> io::Result<Vec<String>> {
        self.tail_within(instance, lines, MOST_BYTES)
    }

    fn tail_within(&self, instance: &str, lines: usize, bytes: u64) -> io::Result<Vec<String>> {
        let lines = lines.min(MOST_LINES);
        let path = self.path(instance);
        let mut all = last_lines(&path, bytes / 2)?;
        if all.len() < lines {
            let mut older = last_lines(&path.with_extension("log.1"), bytes / 2)?;
            older.append(&mut all);
            all = older;
        }
        let skip = all.len().saturating_sub(lines);
        Ok(all.split_off(skip))
    }

    /// The last lines of several instances for a person who asked.
    pub fn answer(&self, instances: &[String], lines: u32) -> io::Result<Vec<LogLine>> {
        let lines = usize::try_from(lines).unwrap_or(MOST_LINES);
        let each = MOST_BYTES / (instances.len() as u64).max(1);
        let mut answer = Vec::new();
        for instance in instances {
            let tail = self.tail_within(instance, lines, each)?;
            answer.extend(tail.into_iter().map(|text| LogLine {
                instance: instance.clone(),
                text,
            }));
        }
        Ok(answer)
    }

    /// Instances of an arm that left a log, whether they still run or not.
    pub fn instances(&self, prefix: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|item| {
                let name = item.file_name().to_string_lossy().into_owned();
                let name = name.strip_suffix(".log")?;
                name.starts_with(prefix).then(|| name.to_owned())
            })
            .collect();
        names.sort_unstable();
        names
    }

    /// Removes the oldest logs of instances that are gone.
    pub fn sweep(&self, living: impl Fn(&str) -> bool) -> io::Result<()> {
        let mut old = Vec::new();
        for item in fs::read_dir(&self.folder)?.flatten() {
            let name = item.file_name().to_string_lossy().into_owned();
            let instance = name.split(".log").next().unwrap_or_default();
            if !living(instance) {
                old.push((item.metadata()?.modified()?, item.path()));
            }
        }
        old.sort_unstable_by(|a, b| b.cmp(a));
        for (_, path) in old.into_iter().skip(MOST_OLD_FILES) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

fn last_lines(path: &Path, most: u64) -> io::Result<Vec<String>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let size = file.metadata()?.len();
    let from = size.saturating_sub(most);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // The first line is a part where the file was not read from its start.
    let whole = text.lines().skip(usize::from(from > 0));
    Ok(whole
        .map(|line| line.chars().take(MOST_CHARS).collect())
        .collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_large_log_is_moved_away_and_its_last_lines_are_still_found() {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::open(folder.path().to_owned()).unwrap();
        let mut writer = logs.append("app-1.0").unwrap();
        let line = format!("{}\n", "x".repeat(1023));
        for _ in 0..ROTATE_AT / 1024 {
            writer.write_all(line.as_bytes()).unwrap();
        }
        writer.write_all(b"the last one before\n").unwrap();
        logs.rotate("app-1.0").unwrap();
        assert_eq!(fs::metadata(logs.path("app-1.0")).unwrap().len(), 0);
        // The instance still has its file open and goes on at its new start.
        writer.write_all(b"the first one behind\n").unwrap();
        let tail = logs.tail("app-1.0", 2).unwrap();
        assert_eq!(tail, ["the last one before", "the first one behind"]);
        assert_eq!(logs.instances("app-1."), ["app-1.0"]);
    }

    #[test]
    fn only_the_oldest_logs_of_instances_that_are_gone_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::open(folder.path().to_owned()).unwrap();
        for number in 0..MOST_OLD_FILES + 5 {
            logs.append(&format!("app-{number}.0")).unwrap();
        }
        logs.sweep(|name| name == "app-0.0").unwrap();
        assert_eq!(logs.instances("app-").len(), MOST_OLD_FILES + 1);
        assert!(logs.path("app-0.0").exists());
    }
}
