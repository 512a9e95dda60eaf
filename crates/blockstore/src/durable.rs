//! The only place that makes bytes durable in a local directory.
//!
//! Durable means: temporary file beside the target, write, fsync, rename (or link, where the
//! name must be new), fsync of the directory, and of every directory above it that is new.
//! A failed fsync is an error and is never tried again: after it the kernel may have dropped the
//! very pages that the second fsync would call clean.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Location;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

/// Distinguishes the temporary files of one process.
static SERIAL: AtomicU64 = AtomicU64::new(0);

/// Whether an existing file may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// Rename over whatever is there.
    Replace,
    /// Link, which fails where the name exists.
    New,
}

/// Writes a file with the given permission bits, replacing what was there, all or nothing. When
/// this returns, the file survives a power cut. Missing directories are made.
pub fn write_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    create_dir_all(parent(path)?)?;
    publish(path, &[bytes], mode, Target::Replace)
}

/// Like [`write_file`], but fails with `AlreadyExists` where the file exists. Of many callers at
/// once exactly one succeeds.
pub fn create_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    create_dir_all(parent(path)?)?;
    publish(path, &[bytes], mode, Target::New)
}

/// For its owner's eyes only, whatever the data directory that it is in allows: disks are in it.
fn create_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

/// Makes a directory and those above it that are missing, and makes their names durable.
pub fn create_dir_all(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    create_dir_all(above)?;
    match create_dir(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    sync_dir(above)
}

/// Makes the names in a directory durable.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn parent(path: &Path) -> io::Result<&Path> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(parent) => Ok(parent),
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, "a file needs a name")),
    }
}

/// The directory must exist and be durable.
fn publish(path: &Path, parts: &[&[u8]], mode: u32, target: Target) -> io::Result<()> {
    let (mut file, temporary) = open_temporary(path, mode)?;
    let done = write_and_name(&mut file, &temporary, path, parts, target);
    drop(file);
    let is_renamed = target == Target::Replace && done.is_ok();
    if !is_renamed {
        // A leftover is only clutter: listings skip its name, and the next writer takes another.
        fs::remove_file(&temporary).ok();
    }
    if done.is_ok() || is_taken(&done) {
        // Also where the name was taken: its owner may not have come to this line yet, and the
        // caller takes "exists" as "is safe".
        sync_dir(parent(path)?)?;
    }
    done
}

fn is_taken(done: &io::Result<()>) -> bool {
    done.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::AlreadyExists)
}

#[expect(clippy::disallowed_methods, reason = "this is the adapter that the ban points to")]
fn write_and_name(
    file: &mut File,
    temporary: &Path,
    path: &Path,
    parts: &[&[u8]],
    target: Target,
) -> io::Result<()> {
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()?;
    match target {
        Target::Replace => fs::rename(temporary, path),
        Target::New => fs::hard_link(temporary, path),
    }
}

/// A new file beside `path`. Its name ends in `#` and digits, which object listings skip.
fn open_temporary(path: &Path, mode: u32) -> io::Result<(File, PathBuf)> {
    let name =
        path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a file needs a name"))?;
    loop {
        let mut temporary = name.to_owned();
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        temporary.push(format!("#{}{serial:09}", std::process::id()));
        let temporary = path.with_file_name(temporary);
        match OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary) {
            Ok(file) => return Ok((file, temporary)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
}

/// A local directory as an object store whose puts are durable when they return. Reads and
/// listings are [`LocalFileSystem`]'s; what nobody here needs (copies, multipart) is refused
/// rather than done less durably.
pub(crate) struct DurableLocal {
    inner: LocalFileSystem,
    root: PathBuf,
    /// Directories whose names this process knows to be durable.
    durable_dirs: Arc<Mutex<HashSet<PathBuf>>>,
}

impl DurableLocal {
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        create_dir_all(root)?;
        let root = root.canonicalize()?;
        let inner = LocalFileSystem::new_with_prefix(&root).map_err(io::Error::other)?;
        Ok(Self { inner, root, durable_dirs: Arc::default() })
    }

    fn refuse<T>(&self, operation: &str) -> object_store::Result<T> {
        Err(object_store::Error::NotImplemented {
            operation: operation.to_owned(),
            implementer: self.to_string(),
        })
    }
}

/// Makes `dir`, below `root`, and every name on the way durable, once a process: a directory
/// that is already there may have been made by somebody who has not come to its fsync yet.
fn ensure_dir(root: &Path, dir: &Path, known: &Mutex<HashSet<PathBuf>>) -> io::Result<()> {
    let is_known = |dir: &Path| known.lock().unwrap_or_else(PoisonError::into_inner).contains(dir);
    if dir == root || is_known(dir) {
        return Ok(());
    }
    let above = parent(dir)?;
    ensure_dir(root, above, known)?;
    match create_dir(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    sync_dir(above)?;
    known.lock().unwrap_or_else(PoisonError::into_inner).insert(dir.to_owned());
    Ok(())
}

fn store_error(path: &Path, error: io::Error) -> object_store::Error {
    let path = path.display().to_string();
    let kind = error.kind();
    if kind == io::ErrorKind::AlreadyExists {
        object_store::Error::AlreadyExists { path, source: error.into() }
    } else if kind == io::ErrorKind::PermissionDenied {
        object_store::Error::PermissionDenied { path, source: error.into() }
    } else {
        object_store::Error::Generic { store: "local directory", source: error.into() }
    }
}

#[async_trait::async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(
        &self,
        location: &Location,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        let target = match opts.mode {
            PutMode::Overwrite => Target::Replace,
            PutMode::Create => Target::New,
            PutMode::Update(_) => return self.refuse("put with a version"),
        };
        let path = self.inner.path_to_filesystem(location)?;
        let (root, known) = (self.root.clone(), Arc::clone(&self.durable_dirs));
        let put = move || {
            parent(&path)
                .and_then(|dir| ensure_dir(&root, dir, &known))
                .and_then(|()| {
                    let parts: Vec<&[u8]> = payload.iter().map(Bytes::as_ref).collect();
                    publish(&path, &parts, 0o600, target)
                })
                .map_err(|e| store_error(&path, e))
        };
        tokio::task::spawn_blocking(put).await??;
        Ok(PutResult { e_tag: None, version: None, extensions: object_store::Extensions::default() })
    }

    async fn put_multipart_opts(
        &self,
        _: &Location,
        _: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.refuse("multipart put")
    }

    async fn get_opts(&self, location: &Location, options: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(
        &self,
        location: &Location,
        ranges: &[Range<u64>],
    ) -> object_store::Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Location>>,
    ) -> BoxStream<'static, object_store::Result<Location>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Location>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Location>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Location, _: &Location, _: CopyOptions) -> object_store::Result<()> {
        self.refuse("copy")
    }
}

impl fmt::Display for DurableLocal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "durable local directory {}", self.root.display())
    }
}

impl fmt::Debug for DurableLocal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_whole_with_its_mode_and_nothing_is_left_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/credentials");
        write_file(&path, b"one", 0o644).unwrap();
        write_file(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(path.parent().unwrap()), ["credentials"]);
        for made in ["a", "a/b"] {
            let mode = fs::metadata(dir.path().join(made)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{made}");
        }
    }

    #[test]
    fn of_many_creators_one_succeeds_and_its_bytes_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x/only");
        let done: Vec<io::Result<()>> = std::thread::scope(|scope| {
            let spawn = |i: u8| {
                let path = &path;
                scope.spawn(move || create_file(path, &[i; 10_000], 0o600))
            };
            (0..16).map(spawn).collect::<Vec<_>>().into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let winners: Vec<usize> = (0..16).filter(|i| done[*i].is_ok()).collect();
        assert_eq!(winners.len(), 1);
        assert!(done.iter().flat_map(Result::as_ref).count() == 1);
        assert!(
            done.iter().filter_map(|d| d.as_ref().err()).all(|e| e.kind() == io::ErrorKind::AlreadyExists)
        );
        assert_eq!(fs::read(&path).unwrap(), vec![u8::try_from(winners[0]).unwrap(); 10_000]);
        assert_eq!(names(path.parent().unwrap()), ["only"]);
    }

    #[test]
    fn a_target_that_is_a_directory_is_an_error_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        assert!(write_file(&dir.path().join("d"), b"x", 0o600).is_err());
        assert_eq!(names(dir.path()), ["d"]);
        assert!(write_file(Path::new("/"), b"x", 0o600).is_err());
    }

    #[tokio::test]
    async fn leftovers_of_a_crash_are_not_listed() {
        use futures::TryStreamExt;
        use object_store::ObjectStoreExt;

        let dir = tempfile::tempdir().unwrap();
        let store = DurableLocal::open(&dir.path().join("new/store")).unwrap();
        store.put(&Location::from("pack/d/aa/one"), PutPayload::from_static(b"1")).await.unwrap();
        let (_, leftover) = open_temporary(&dir.path().join("new/store/pack/d/aa/two"), 0o600).unwrap();
        assert!(leftover.exists());
        let listed: Vec<ObjectMeta> =
            store.list(Some(&Location::from("pack/d"))).try_collect().await.unwrap();
        assert_eq!(listed.iter().map(|meta| meta.location.as_ref()).collect::<Vec<_>>(), ["pack/d/aa/one"]);
    }
}
