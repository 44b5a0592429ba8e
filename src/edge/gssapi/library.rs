//! MIT Kerberos' GSSAPI (RFC 2743, RFC 2744) behind safe types. The library is loaded when the first cluster asks for Kerberos, so
//! that nobody else needs it, neither to build nor to run.
#![allow(unsafe_code)]

use libloading::Library;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

const FILE: &str = "libgssapi_krb5.so.2";
/// Of a major status: what says that a call failed, and not only how.
const FAILED: u32 = 0xffff_0000;
const CONTINUE_NEEDED: u32 = 1;
/// What [`Functions::gss_display_status`] is asked for: the words of a major status, or of Kerberos' own.
const MAJOR: c_int = 1;
const MINOR: c_int = 2;
/// A status of several lines has few.
const STATUS_LINES_MAX: usize = 4;
const INITIATE: c_int = 1;
const INDEFINITELY: u32 = u32::MAX;
/// Mutual authentication, messages in their order, and protected against changes: what RFC 4752 asks for.
const FLAGS: u32 = 2 | 8 | 32;

type Handle = *mut c_void;

#[repr(C)]
struct Buffer {
    length: usize,
    value: *mut c_void,
}

impl Buffer {
    const EMPTY: Self = Self { length: 0, value: null_mut() };

    /// For the library to read, as long as the bytes are there.
    fn of(bytes: &[u8]) -> Self {
        Self { length: bytes.len(), value: bytes.as_ptr().cast_mut().cast() }
    }
}

/// An object identifier: the length and the bytes of its DER value.
#[repr(C)]
struct Oid(u32, *const u8);

// SAFETY: it points to constant bytes only, which nobody writes.
unsafe impl Sync for Oid {}

impl Oid {
    const fn new(der: &'static [u8]) -> Self {
        Self(der.len() as u32, der.as_ptr())
    }
}

/// 1.2.840.113554.1.2.2
static KERBEROS: Oid = Oid::new(b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02");
/// 1.2.840.113554.1.2.2.1
static PRINCIPAL: Oid = Oid::new(b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x01");
/// 1.2.840.113554.1.2.1.4
static SERVICE_AT_HOST: Oid = Oid::new(b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x01\x04");

#[repr(C)]
struct OidSet {
    count: usize,
    elements: *const Oid,
}

#[repr(C)]
struct Element {
    key: *const c_char,
    value: *const c_char,
}

#[repr(C)]
struct Store {
    count: u32,
    elements: *const Element,
}

macro_rules! functions {
    ($($name:ident($($type:ty),*);)*) => {
        /// As `gssapi.h` and `gssapi_ext.h` declare them. Each gives its major status, and writes its minor one to the first
        /// pointer.
        struct Functions {
            $($name: unsafe extern "C" fn($($type),*) -> u32,)*
            /// Holds all of them in memory.
            _library: Library,
        }

        impl Functions {
            fn load(file: &str) -> Result<Self, libloading::Error> {
                // SAFETY: when this library is loaded, it sets up locks and tables of its own, and nothing else.
                let library = unsafe { Library::new(file) }?;
                $(
                    // SAFETY: the type is that of the header, which the number in the file's name (`.so.2`) promises to keep, and
                    // the function is only used beside the library that holds it.
                    let $name = *unsafe { library.get::<unsafe extern "C" fn($($type),*) -> u32>(stringify!($name)) }?;
                )*
                Ok(Self { $($name,)* _library: library })
            }
        }
    };
}

functions! {
    gss_import_name(*mut u32, *const Buffer, *const Oid, *mut Handle);
    gss_release_name(*mut u32, *mut Handle);
    gss_acquire_cred_from(
        *mut u32, Handle, u32, *const OidSet, c_int, *const Store, *mut Handle, *mut *mut OidSet, *mut u32
    );
    gss_release_cred(*mut u32, *mut Handle);
    gss_init_sec_context(
        *mut u32, Handle, *mut Handle, Handle, *const Oid, u32, u32, *const c_void, *const Buffer, *mut *const Oid, *mut Buffer,
        *mut u32, *mut u32
    );
    gss_delete_sec_context(*mut u32, *mut Handle, *mut Buffer);
    gss_wrap(*mut u32, Handle, c_int, u32, *const Buffer, *mut c_int, *mut Buffer);
    gss_unwrap(*mut u32, Handle, *const Buffer, *mut Buffer, *mut c_int, *mut u32);
    gss_release_buffer(*mut u32, *mut Buffer);
    gss_display_status(*mut u32, u32, c_int, *const Oid, *mut u32, *mut Buffer);
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) major: u32,
    /// Kerberos' own number (`krb5.h`).
    pub(super) minor: i32,
    /// The library's words.
    pub(super) text: String,
}

/// The library, loaded.
#[derive(Clone, Copy)]
pub(super) struct Gss(&'static Functions);

/// What a text names.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// `NAME@REALM`
    Principal,
    /// `SERVICE@HOST`
    ServiceAtHost,
}

impl Gss {
    pub(super) fn load() -> Result<Self, String> {
        static LOADED: OnceLock<Result<Functions, String>> = OnceLock::new();
        LOADED.get_or_init(|| load(FILE)).as_ref().map(Self).map_err(Clone::clone)
    }

    pub(super) fn name(self, text: &str, kind: Kind) -> Result<Name, Failure> {
        let kind = match kind {
            Kind::Principal => &raw const PRINCIPAL,
            Kind::ServiceAtHost => &raw const SERVICE_AT_HOST,
        };
        let text = Buffer::of(text.as_bytes());
        let (mut minor, mut handle) = (0, null_mut());
        // SAFETY: all pointers are to live values of the types declared, and the library copies what it keeps of text and kind.
        let major =
            unsafe { (self.0.gss_import_name)(&raw mut minor, &raw const text, kind, &raw mut handle) };
        self.check(major, minor)?;
        Ok(Name { gss: self, handle })
    }

    /// Somebody's tickets, by what `store` says of where to find or get them (the keys are listed at `gss_acquire_cred_from` of
    /// MIT Kerberos). Without a name: whoever is found there. May ask a KDC, which blocks.
    pub(super) fn acquire(
        self,
        name: Option<&Name>,
        store: &[(&CStr, CString)],
    ) -> Result<Credential, Failure> {
        let elements: Vec<Element> =
            store.iter().map(|(key, value)| Element { key: key.as_ptr(), value: value.as_ptr() }).collect();
        let store = Store { count: elements.len() as u32, elements: elements.as_ptr() };
        let mechanisms = OidSet { count: 1, elements: &raw const KERBEROS };
        let name = name.map_or(null_mut(), |name| name.handle);
        let (mut minor, mut handle) = (0, null_mut());
        // SAFETY: all pointers are to live values of the types declared, or null where the header allows it; the strings of the
        // store end in zero bytes and live as long as `store`'s caller holds them, which is longer than the call.
        let major = unsafe {
            (self.0.gss_acquire_cred_from)(
                &raw mut minor,
                name,
                INDEFINITELY,
                &raw const mechanisms,
                INITIATE,
                &raw const store,
                &raw mut handle,
                null_mut(),
                null_mut(),
            )
        };
        self.check(major, minor)?;
        Ok(Credential { gss: self, handle })
    }

    fn check(self, major: u32, minor: u32) -> Result<(), Failure> {
        if major & FAILED == 0 {
            return Ok(());
        }
        let mut text = self.words(minor, MINOR);
        // Nothing went wrong within Kerberos; it is the other side's message that makes no sense.
        if text == "Success" {
            text = self.words(major, MAJOR);
        }
        Err(Failure { major, minor: minor as i32, text })
    }

    /// What a status means.
    fn words(self, status: u32, kind: c_int) -> String {
        let (mut lines, mut more) = (Vec::<String>::new(), 0);
        for _ in 0..STATUS_LINES_MAX {
            let (mut minor, mut line) = (0, Buffer::EMPTY);
            // SAFETY: all pointers are to live values of the types declared.
            let major = unsafe {
                (self.0.gss_display_status)(
                    &raw mut minor,
                    status,
                    kind,
                    &raw const KERBEROS,
                    &raw mut more,
                    &raw mut line,
                )
            };
            let line = self.take(line);
            lines.push(String::from_utf8_lossy(&line).chars().filter(|c| !c.is_control()).collect());
            if major & FAILED != 0 || more == 0 {
                break;
            }
        }
        lines.join("; ")
    }

    /// Copies what the library wrote, and gives it back.
    fn take(self, mut buffer: Buffer) -> Vec<u8> {
        let bytes = match buffer.value.is_null() {
            true => Vec::new(),
            // SAFETY: the library has just said that so many bytes are there, and they stay until it is told to release them.
            false => unsafe { std::slice::from_raw_parts(buffer.value.cast::<u8>(), buffer.length) }.to_vec(),
        };
        let mut minor = 0;
        // SAFETY: the buffer is empty or the library's own, and forgotten afterwards.
        unsafe { (self.0.gss_release_buffer)(&raw mut minor, &raw mut buffer) };
        bytes
    }
}

fn load(file: &str) -> Result<Functions, String> {
    Functions::load(file).map_err(|error| {
        format!(
            "Kerberos needs the library {FILE}, which cannot be loaded ({error}); install it (apt-get install libgssapi-krb5-2, or \
             dnf install krb5-libs) and start again"
        )
    })
}

pub(super) struct Name {
    gss: Gss,
    handle: Handle,
}

impl Drop for Name {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: the handle is the library's, and this is its only owner.
        unsafe { (self.gss.0.gss_release_name)(&raw mut minor, &raw mut self.handle) };
    }
}

pub(super) struct Credential {
    gss: Gss,
    handle: Handle,
}

impl Drop for Credential {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: the handle is the library's, and this is its only owner.
        unsafe { (self.gss.0.gss_release_cred)(&raw mut minor, &raw mut self.handle) };
    }
}

/// A security context with one service.
pub(super) struct Context {
    gss: Gss,
    /// Null before the first step.
    handle: Handle,
    credential: Credential,
    target: Name,
    is_established: bool,
}

// SAFETY: any thread may use what the library has made, one at a time; and only one can, since nothing here is shared: all that
// touches a handle takes `&mut self`.
unsafe impl Send for Context {}

impl Context {
    pub(super) fn new(credential: Credential, target: Name) -> Self {
        Self { gss: target.gss, handle: null_mut(), credential, target, is_established: false }
    }

    pub(super) fn is_established(&self) -> bool {
        self.is_established
    }

    /// Takes the other side's token, and gives the next one for it. The first one, for an empty token, may need a ticket of the
    /// KDC, which blocks; the later ones are computed.
    pub(super) fn step(&mut self, token: &[u8]) -> Result<Vec<u8>, Failure> {
        let input = Buffer::of(token);
        let (mut minor, mut output) = (0, Buffer::EMPTY);
        // SAFETY: all pointers are to live values of the types declared, or null where the header allows it; the handles are the
        // library's, and the context is null before its first step.
        let major = unsafe {
            (self.gss.0.gss_init_sec_context)(
                &raw mut minor,
                self.credential.handle,
                &raw mut self.handle,
                self.target.handle,
                &raw const KERBEROS,
                FLAGS,
                0,
                null(),
                &raw const input,
                null_mut(),
                &raw mut output,
                null_mut(),
                null_mut(),
            )
        };
        let checked = self.gss.check(major, minor);
        let token = self.gss.take(output);
        checked?;
        self.is_established = major & CONTINUE_NEEDED == 0;
        Ok(token)
    }

    /// Protects a message against changes, and does not hide it.
    pub(super) fn wrap(&mut self, message: &[u8]) -> Result<Vec<u8>, Failure> {
        let input = Buffer::of(message);
        let (mut minor, mut output) = (0, Buffer::EMPTY);
        // SAFETY: all pointers are to live values of the types declared, or null where the header allows it; the handle is the
        // library's, which refuses one that is not established.
        let major = unsafe {
            (self.gss.0.gss_wrap)(
                &raw mut minor,
                self.handle,
                0,
                0,
                &raw const input,
                null_mut(),
                &raw mut output,
            )
        };
        let checked = self.gss.check(major, minor);
        let wrapped = self.gss.take(output);
        checked.map(|()| wrapped)
    }

    pub(super) fn unwrap(&mut self, message: &[u8]) -> Result<Vec<u8>, Failure> {
        let input = Buffer::of(message);
        let (mut minor, mut output) = (0, Buffer::EMPTY);
        // SAFETY: as for `wrap`.
        let major = unsafe {
            (self.gss.0.gss_unwrap)(
                &raw mut minor,
                self.handle,
                &raw const input,
                &raw mut output,
                null_mut(),
                null_mut(),
            )
        };
        let checked = self.gss.check(major, minor);
        let inside = self.gss.take(output);
        checked.map(|()| inside)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if self.handle.is_null() {
            return;
        }
        let mut minor = 0;
        // SAFETY: the handle is the library's, and this is its only owner; no token is wanted for the other side.
        unsafe { (self.gss.0.gss_delete_sec_context)(&raw mut minor, &raw mut self.handle, null_mut()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_not_there_is_named_with_its_packages() {
        let Err(error) = load("libnothing_of_this_name.so.2") else { panic!("it was loaded") };
        assert!(error.contains(FILE) && error.contains("apt-get install libgssapi-krb5-2"), "{error}");
        assert!(error.contains("dnf install krb5-libs"), "{error}");
    }
}
