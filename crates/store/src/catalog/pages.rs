//! Checked catalog pages: a layer between SQLite and the file system that seals each page of a catalog with a checksum.
//!
//! SQLite's own checks look at the structure of a page, so a flipped byte in a text or in metadata goes unnoticed. Here the last
//! [`SUM_BYTES`] of each page, which SQLite leaves alone once it is told to reserve them, hold two CRC-32C, one per half of the
//! page, both begun with the page's number. Invariants: every page that SQLite reads from a catalog file was compared with its
//! checksum, so flipped, zeroed, torn, swapped and misplaced pages are an error ([`Mismatch`]); every page that it writes there
//! is whole and sealed. A burst of up to 32 bits is always noticed, anything else but for one in 2^32 (within a half) to 2^64.
//! What is not: a page that the disk silently left as it was before; the witness of the newest commit ([`crate::witness`]) and
//! the counts at open look for that.
//!
//! Only the main file is sealed. Frames of the write-ahead log have checksums of SQLite's, which it checks when it recovers a
//! log and then never again; here they are checked whenever a page is read from the log, so that damage is neither served nor
//! sealed into the main file by a checkpoint. Journals and shared memory go straight to the platform.
//! The interface: <https://sqlite.org/vfs.html>; the idea of reserved bytes: <https://sqlite.org/cksumvfs.html>; the log:
//! <https://sqlite.org/fileformat2.html#the_write_ahead_log>.
use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};
use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

use rusqlite::{Connection, OpenFlags, ffi};

/// Bytes of every catalog page; SQLite's default.
pub(super) const PAGE_BYTES: usize = 4096;
/// Bytes at the end of a page that SQLite leaves to us.
pub(super) const SUM_BYTES: usize = 8;
const CONTENT_BYTES: usize = PAGE_BYTES - SUM_BYTES;
/// SQLite reads the beginning of the file (at most so much) without the page around it; see [`read`].
const FILE_HEADER_BYTES: i64 = 100;
/// Where page 1 keeps the page size (2 bytes, big-endian) and the reserved bytes (1).
const PAGE_SIZE_AT: usize = 16;
const RESERVED_AT: usize = 20;
/// A log begins with this many bytes, the last eight of them the checksum that the first frame's continues.
const LOG_HEADER_BYTES: i64 = 32;
/// Before each page in a log: page number, 12 more bytes, and the checksum of this frame and all before it.
const FRAME_HEADER_BYTES: usize = 24;
const FRAME_BYTES: i64 = (FRAME_HEADER_BYTES + PAGE_BYTES) as i64;
/// Name under which SQLite knows this layer.
pub(crate) const VFS: &CStr = c"bilin-pages";

thread_local! {
    /// SQLite calls back on the thread that called it, so this belongs to the call at hand.
    static MISMATCH: Cell<Option<Mismatch>> = const { Cell::new(None) };
}

/// A page that is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    page: u64,
    is_in_log: bool,
    /// In the page, and of its content; `None` when the file ends before the end of the page.
    sums: Option<([u8; SUM_BYTES], [u8; SUM_BYTES])>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sums {
            Some((expected, found)) => write!(
                formatter,
                "page {}: checksum expected {:016x}, found {:016x}",
                self.page,
                u64::from_le_bytes(expected),
                u64::from_le_bytes(found)
            ),
            None => write!(formatter, "page {}: the file ends before its end", self.page),
        }
    }
}

impl Mismatch {
    /// The damaged file.
    pub(crate) fn file(&self) -> &'static str {
        if self.is_in_log { "catalog.sqlite-wal" } else { "catalog.sqlite" }
    }
}

/// The damaged page behind an error of SQLite on this thread, if that is what it was; told once.
pub(crate) fn take_mismatch() -> Option<Mismatch> {
    MISMATCH.take()
}

/// Opens a catalog, or a copy of one, whose pages are sealed.
pub(crate) fn open(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    register()?;
    MISMATCH.take();
    Connection::open_with_flags_and_vfs(path, flags, VFS)
}

/// Creates a catalog, empty as yet, whose pages will be sealed.
pub(super) fn create(path: &Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = open(path, flags)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES as i64)?;
    let mut reserve = SUM_BYTES as c_int;
    // SAFETY: the handle is that of a live connection; this operation reads and writes one int, which outlives the call.
    let code = unsafe {
        let handle = connection.handle();
        let operation = ffi::SQLITE_FCNTL_RESERVE_BYTES;
        ffi::sqlite3_file_control(handle, c"main".as_ptr(), operation, (&raw mut reserve).cast())
    };
    answered(code)?;
    Ok(connection)
}

/// Makes this layer known to SQLite, once per process, and to [`open`] and `ATTACH` (so also to `VACUUM INTO`).
pub(super) fn register() -> rusqlite::Result<()> {
    static REGISTERED: OnceLock<c_int> = OnceLock::new();
    answered(*REGISTERED.get_or_init(|| {
        let real = platform();
        if real.is_null() {
            return ffi::SQLITE_ERROR;
        }
        // SAFETY: SQLite's default layer is never changed or freed once found. The copy differs in name, file size and
        // `xOpen` only; the platform's other functions look at fields of the struct that they are given, all of them copied.
        // It is leaked, as SQLite keeps the pointer.
        unsafe {
            let mut layer = *real;
            layer.zName = VFS.as_ptr();
            layer.szOsFile += size_of::<SealedFile>() as c_int;
            layer.xOpen = Some(open_file);
            layer.pNext = std::ptr::null_mut();
            ffi::sqlite3_vfs_register(Box::leak(Box::new(layer)), 0)
        }
    }))
}

fn answered(code: c_int) -> rusqlite::Result<()> {
    match code {
        ffi::SQLITE_OK => Ok(()),
        code => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)),
    }
}

/// SQLite's default layer over the operating system.
fn platform() -> *mut ffi::sqlite3_vfs {
    static REAL: OnceLock<usize> = OnceLock::new();
    // SAFETY: asks for the default layer by passing no name; allowed at any time. Asked once: ours is no default.
    *REAL.get_or_init(|| unsafe { ffi::sqlite3_vfs_find(std::ptr::null()) } as usize) as *mut ffi::sqlite3_vfs
}

/// Checksum of a page's content (the first [`CONTENT_BYTES`] are looked at).
fn seal(page: u64, content: &[u8]) -> [u8; SUM_BYTES] {
    let begun = crc32c::crc32c_append(crc32c::crc32c(b"bilin page"), &page.to_le_bytes());
    let (first, rest) = content.split_at(content.len().min(CONTENT_BYTES / 2));
    let second = rest.get(..CONTENT_BYTES / 2).unwrap_or(rest);
    let mut sum = [0; SUM_BYTES];
    let halves = [crc32c::crc32c_append(begun, first), crc32c::crc32c_append(!begun, second)];
    for (to, half) in sum.chunks_exact_mut(4).zip(halves) {
        to.copy_from_slice(&half.to_le_bytes());
    }
    sum
}

/// Whether a whole page is what was written; remembers what is wrong with it if not.
fn check(page: u64, bytes: &[u8; PAGE_BYTES]) -> bool {
    let expected = bytes.last_chunk().copied().unwrap_or_default();
    let found = seal(page, bytes);
    if expected != found {
        MISMATCH.set(Some(Mismatch { page, is_in_log: false, sums: Some((expected, found)) }));
    }
    expected == found
}

/// What SQLite holds of an open catalog or log; the platform's own struct follows it in the same memory, aligned as this is.
#[repr(C)]
struct SealedFile {
    base: ffi::sqlite3_file,
    /// Of a log: from here on this connection wrote what it has not synced since. Within one transaction SQLite may write a frame
    /// again and mend the checksums behind it only when it commits, and a commit syncs.
    unsynced_from: i64,
}

/// The platform's file behind ours.
///
/// # Safety
/// `file` is one that [`open_file`] was given, so that memory of the platform's size follows it.
unsafe fn inner(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    // SAFETY: by the contract above both parts lie in one allocation of `szOsFile` bytes.
    unsafe { file.cast::<SealedFile>().add(1).cast() }
}

/// Opens a file: a main database and a log get our methods around the platform's, everything else is the platform's alone.
unsafe extern "C" fn open_file(
    _layer: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let real = platform();
    // SAFETY: SQLite gives memory of `szOsFile` bytes, ours and the platform's together, and arguments that the platform's
    // `xOpen` takes as they are.
    unsafe {
        (*file).pMethods = std::ptr::null();
        let Some(open) = (*real).xOpen else { return ffi::SQLITE_CANTOPEN };
        let methods = match flags & (ffi::SQLITE_OPEN_MAIN_DB | ffi::SQLITE_OPEN_WAL) {
            ffi::SQLITE_OPEN_MAIN_DB => &raw const METHODS,
            ffi::SQLITE_OPEN_WAL => &raw const LOG_METHODS,
            _ => return open(real, name, file, flags, out_flags),
        };
        (*file.cast::<SealedFile>()).unsynced_from = i64::MAX;
        let inside = inner(file);
        (*inside).pMethods = std::ptr::null();
        let code = open(real, name, inside, flags, out_flags);
        // SQLite closes a file that has methods even when it could not be opened, and so must we.
        if !(*inside).pMethods.is_null() {
            (*file).pMethods = methods;
        }
        code
    }
}

/// Calls the platform's method of the file behind ours.
macro_rules! delegate {
    ($file:expr, $method:ident, $missing:expr $(, $argument:expr)*) => {{
        // SAFETY: the file was opened by `open_file`, so the platform's struct follows ours and has its methods; the
        // arguments are SQLite's, passed on as they are.
        unsafe {
            let inside = inner($file);
            match (*(*inside).pMethods).$method {
                Some(method) => method(inside $(, $argument)*),
                None => $missing,
            }
        }
    }};
}

/// Reads, and compares every page with its checksum. Exceptions: nothing at all in an empty file, and the first 100 bytes,
/// which SQLite reads on their own before it knows whether the log holds a newer page 1 (after a power loss the one in the
/// file may be torn); whatever it reads there it looks up again in the whole page before it relies on it.
unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    buffer: *mut c_void,
    amount: c_int,
    offset: i64,
) -> c_int {
    let Ok(length) = usize::try_from(amount) else { return ffi::SQLITE_IOERR_READ };
    let end = offset.saturating_add(i64::from(amount));
    if end <= FILE_HEADER_BYTES {
        return delegate!(file, xRead, ffi::SQLITE_IOERR_READ, buffer, amount, offset);
    }
    if length == PAGE_BYTES && offset % PAGE_BYTES as i64 == 0 {
        // SAFETY: SQLite's buffer has room for `amount` bytes, which is a page, and nobody else uses it meanwhile.
        return unsafe { read_page(file, buffer.cast(), offset as u64 / PAGE_BYTES as u64) };
    }
    // Another page size than ours: what SQLite read of a damaged header. It gets bytes of checked pages all the same.
    let mut page = [0; PAGE_BYTES];
    let mut at = offset.max(0) as u64;
    while at < end as u64 {
        let (number, within) = (at / PAGE_BYTES as u64, (at % PAGE_BYTES as u64) as usize);
        // SAFETY: `page` is a page.
        let code = unsafe { read_page(file, &raw mut page, number) };
        if code != ffi::SQLITE_OK {
            return code;
        }
        let part = (PAGE_BYTES - within).min((end as u64 - at) as usize);
        // SAFETY: `within + part` is at most a page, and `at - offset + part` at most `amount`.
        unsafe {
            let to = buffer.cast::<u8>().add((at - offset as u64) as usize);
            std::ptr::copy_nonoverlapping(page.as_ptr().add(within), to, part);
        }
        at += part as u64;
    }
    ffi::SQLITE_OK
}

/// Reads and checks the page with this index (from 0).
///
/// # Safety
/// `file` was opened by [`open_file`]; `buffer` has room for a page.
unsafe fn read_page(file: *mut ffi::sqlite3_file, buffer: *mut [u8; PAGE_BYTES], index: u64) -> c_int {
    let offset = (index * PAGE_BYTES as u64) as i64;
    let code = delegate!(file, xRead, ffi::SQLITE_IOERR_READ, buffer.cast(), PAGE_BYTES as c_int, offset);
    let page = index + 1;
    match code {
        ffi::SQLITE_OK => {
            // SAFETY: the platform has filled the page.
            if check(page, unsafe { &*buffer }) { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_DATA }
        }
        ffi::SQLITE_IOERR_SHORT_READ => {
            // SQLite takes a short read for zeros, which is right only where nothing was written yet.
            let mut bytes = 0;
            let sized = delegate!(file, xFileSize, ffi::SQLITE_IOERR_FSTAT, &raw mut bytes);
            if sized != ffi::SQLITE_OK || bytes == 0 {
                return if sized == ffi::SQLITE_OK { code } else { sized };
            }
            MISMATCH.set(Some(Mismatch { page, is_in_log: false, sums: None }));
            ffi::SQLITE_IOERR_DATA
        }
        code => code,
    }
}

/// Writes a page, sealed. Refused is what would not be one, or would have no room for a checksum.
unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    amount: c_int,
    offset: i64,
) -> c_int {
    if amount != PAGE_BYTES as c_int || offset < 0 || offset % PAGE_BYTES as i64 != 0 {
        return ffi::SQLITE_IOERR_WRITE;
    }
    // SAFETY: SQLite's buffer holds `amount` bytes, which is a page. Copied, since it is SQLite's and not ours to change.
    let mut page: [u8; PAGE_BYTES] = unsafe { *bytes.cast() };
    let has_room = page.get(PAGE_SIZE_AT..=RESERVED_AT).is_some_and(|header| {
        header.starts_with(&(PAGE_BYTES as u16).to_be_bytes()) && header.ends_with(&[SUM_BYTES as u8])
    });
    if offset == 0 && !has_room {
        return ffi::SQLITE_IOERR_WRITE;
    }
    let sum = seal(offset as u64 / PAGE_BYTES as u64 + 1, &page);
    if let Some(to) = page.last_chunk_mut() {
        *to = sum;
    }
    delegate!(file, xWrite, ffi::SQLITE_IOERR_WRITE, page.as_ptr().cast(), amount, offset)
}

/// Reads from a log, and compares a page with the checksum of its frame.
unsafe extern "C" fn read_log(
    file: *mut ffi::sqlite3_file,
    buffer: *mut c_void,
    amount: c_int,
    offset: i64,
) -> c_int {
    let code = delegate!(file, xRead, ffi::SQLITE_IOERR_READ, buffer, amount, offset);
    let frame_at = offset - FRAME_HEADER_BYTES as i64;
    let is_page = amount == PAGE_BYTES as c_int
        && frame_at >= LOG_HEADER_BYTES
        && (frame_at - LOG_HEADER_BYTES) % FRAME_BYTES == 0;
    // SAFETY: the file is one of ours, and SQLite uses it on one thread at a time.
    let is_settled = offset < unsafe { (*file.cast::<SealedFile>()).unsynced_from };
    if code != ffi::SQLITE_OK || !is_page || !is_settled {
        return code;
    }
    let mut header = [0_u8; FRAME_HEADER_BYTES];
    let mut before = [0_u8; 8];
    let before_at =
        if frame_at == LOG_HEADER_BYTES { LOG_HEADER_BYTES } else { frame_at - PAGE_BYTES as i64 } - 8;
    let (header_to, before_to) = (header.as_mut_ptr().cast(), before.as_mut_ptr().cast());
    for (to, bytes, at) in [(header_to, header.len(), frame_at), (before_to, before.len(), before_at)] {
        let code = delegate!(file, xRead, ffi::SQLITE_IOERR_READ, to, bytes as c_int, at);
        if code != ffi::SQLITE_OK {
            return code;
        }
    }
    // SAFETY: the platform has filled the page.
    let page: &[u8; PAGE_BYTES] = unsafe { &*buffer.cast() };
    if check_frame(before, &header, page) { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_DATA }
}

/// Whether a frame continues the checksum of those before it; remembers what is wrong with it if not.
fn check_frame(before: [u8; 8], header: &[u8; FRAME_HEADER_BYTES], page: &[u8; PAGE_BYTES]) -> bool {
    // As a machine of little-endian numbers writes them: two sums over pairs of words, kept big-endian.
    let (first, second) = header.split_at(8);
    let mut sums = words(&before, u32::from_be_bytes);
    for part in [first, page.as_slice()] {
        for pair in part.chunks_exact(8) {
            let [x, y] = words(pair, u32::from_le_bytes);
            sums[0] = sums[0].wrapping_add(x).wrapping_add(sums[1]);
            sums[1] = sums[1].wrapping_add(y).wrapping_add(sums[0]);
        }
    }
    let expected = words(second.get(8..).unwrap_or_default(), u32::from_be_bytes);
    if expected != sums {
        let page = words(first, u32::from_be_bytes)[0].into();
        let number = |sums: [u32; 2]| (u64::from(sums[0]) << 32 | u64::from(sums[1])).to_le_bytes();
        MISMATCH.set(Some(Mismatch { page, is_in_log: true, sums: Some((number(expected), number(sums))) }));
    }
    expected == sums
}

/// The two numbers in eight bytes.
fn words(bytes: &[u8], order: fn([u8; 4]) -> u32) -> [u32; 2] {
    let mut words = [0; 2];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = bytes.try_into().map_or(0, order);
    }
    words
}

unsafe extern "C" fn write_log(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    amount: c_int,
    offset: i64,
) -> c_int {
    // SAFETY: as in `read_log`.
    let unsynced_from = unsafe { &mut (*file.cast::<SealedFile>()).unsynced_from };
    *unsynced_from = offset.min(*unsynced_from);
    delegate!(file, xWrite, ffi::SQLITE_IOERR_WRITE, bytes, amount, offset)
}

unsafe extern "C" fn sync_log(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    let code = delegate!(file, xSync, ffi::SQLITE_IOERR_FSYNC, flags);
    if code == ffi::SQLITE_OK {
        // SAFETY: as in `read_log`.
        unsafe { (*file.cast::<SealedFile>()).unsynced_from = i64::MAX };
    }
    code
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    delegate!(file, xClose, ffi::SQLITE_OK)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, bytes: i64) -> c_int {
    delegate!(file, xTruncate, ffi::SQLITE_IOERR_TRUNCATE, bytes)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    delegate!(file, xSync, ffi::SQLITE_IOERR_FSYNC, flags)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, bytes: *mut i64) -> c_int {
    delegate!(file, xFileSize, ffi::SQLITE_IOERR_FSTAT, bytes)
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    delegate!(file, xLock, ffi::SQLITE_IOERR_LOCK, level)
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    delegate!(file, xUnlock, ffi::SQLITE_IOERR_UNLOCK, level)
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, answer: *mut c_int) -> c_int {
    delegate!(file, xCheckReservedLock, ffi::SQLITE_IOERR_CHECKRESERVEDLOCK, answer)
}

unsafe extern "C" fn file_control(
    file: *mut ffi::sqlite3_file,
    operation: c_int,
    with: *mut c_void,
) -> c_int {
    delegate!(file, xFileControl, ffi::SQLITE_NOTFOUND, operation, with)
}

unsafe extern "C" fn sector_size(file: *mut ffi::sqlite3_file) -> c_int {
    delegate!(file, xSectorSize, PAGE_BYTES as c_int)
}

/// All but reading parts of pages, which could not be checked.
unsafe extern "C" fn device_characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    delegate!(file, xDeviceCharacteristics, 0) & !ffi::SQLITE_IOCAP_SUBPAGE_READ
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    bytes: c_int,
    extend: c_int,
    memory: *mut *mut c_void,
) -> c_int {
    delegate!(file, xShmMap, ffi::SQLITE_IOERR_SHMMAP, region, bytes, extend, memory)
}

unsafe extern "C" fn shm_lock(
    file: *mut ffi::sqlite3_file,
    offset: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    delegate!(file, xShmLock, ffi::SQLITE_IOERR_SHMLOCK, offset, count, flags)
}

unsafe extern "C" fn shm_barrier(file: *mut ffi::sqlite3_file) {
    delegate!(file, xShmBarrier, ())
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, delete: c_int) -> c_int {
    delegate!(file, xShmUnmap, ffi::SQLITE_OK, delete)
}

/// Version 2: with shared memory for the log, without maps of the file, which could not be checked.
static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

static LOG_METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    xRead: Some(read_log),
    xWrite: Some(write_log),
    xSync: Some(sync_log),
    ..METHODS
};
