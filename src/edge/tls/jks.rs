//! Java's own key store format, JKS, as far as reading goes. Its layout and its way of protecting keys are those of the JDK's
//! `JavaKeyStore` and `KeyProtector`. The cryptography is weak and only there to be undone.

use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::{Decode, Reader, SliceReader};
use pkcs8::spki::AlgorithmIdentifierRef;
use sha1::{Digest, Sha1};

pub(super) const MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];
/// The first bytes of JCEKS, which is something else.
pub(super) const MAGIC_JCEKS: [u8; 4] = [0xce, 0xce, 0xce, 0xce];
const TAG_KEY: u32 = 1;
const TAG_TRUSTED: u32 = 2;
const HASH_BYTES: usize = 20;
const WHITENER: &[u8] = b"Mighty Aphrodite";
const PROTECTOR_OID: &str = "1.3.6.1.4.1.42.2.17.1.1";

/// What is in a store, in DER.
#[derive(Default)]
pub(super) struct Store {
    pub(super) trusted: Vec<Vec<u8>>,
    pub(super) keys: Vec<ProtectedKey>,
}

pub(super) struct ProtectedKey {
    info: Vec<u8>,
    /// Our certificate first.
    pub(super) chain: Vec<Vec<u8>>,
}

const CUT_SHORT: &str = "the file is cut short or damaged";

impl Store {
    /// Without a password it is not checked whether somebody changed the file, as in Java.
    pub(super) fn read(bytes: &[u8], password: Option<&str>) -> Result<Self, &'static str> {
        let (content, hash) = bytes.split_last_chunk::<HASH_BYTES>().ok_or(CUT_SHORT)?;
        if let Some(password) = password {
            let computed = Sha1::new()
                .chain_update(utf16(password))
                .chain_update(WHITENER)
                .chain_update(content)
                .finalize();
            if computed[..] != hash[..] {
                return Err("the password is wrong, or the file is damaged");
            }
        }
        let mut input = Input(content);
        if input.bytes(MAGIC.len())? != MAGIC {
            return Err("it is no JKS file");
        }
        let version = input.u32()?;
        if !(1..=2).contains(&version) {
            return Err("it is JKS of a version that nobody knows");
        }
        let mut store = Self::default();
        for _ in 0..input.u32()? {
            let tag = input.u32()?;
            let _alias = input.text()?;
            let _created_ms = input.bytes(8)?;
            match tag {
                TAG_TRUSTED => store.trusted.push(input.certificate(version)?),
                TAG_KEY => {
                    let info = input.long()?.to_vec();
                    let mut chain = Vec::new();
                    for _ in 0..input.u32()? {
                        chain.push(input.certificate(version)?);
                    }
                    store.keys.push(ProtectedKey { info, chain });
                }
                _ => return Err("it has an entry that is neither a key nor a certificate"),
            }
        }
        Ok(store)
    }
}

impl ProtectedKey {
    /// The key as PKCS #8.
    pub(super) fn open(&self, password: &str) -> Result<Vec<u8>, &'static str> {
        let (algorithm, data) = self.parts().map_err(|_| "its key is not stored as it should be")?;
        if algorithm.oid.to_string() != PROTECTOR_OID {
            return Err("its key is encrypted in a way that is not JKS's");
        }
        let (salt, rest) = data.split_first_chunk::<HASH_BYTES>().ok_or(CUT_SHORT)?;
        let (encrypted, check) = rest.split_last_chunk::<HASH_BYTES>().ok_or(CUT_SHORT)?;
        let password = utf16(password);
        let mut key = Vec::with_capacity(encrypted.len());
        let mut pad: [u8; HASH_BYTES] = *salt;
        for block in encrypted.chunks(HASH_BYTES) {
            pad = Sha1::new().chain_update(&password).chain_update(pad).finalize().into();
            key.extend(block.iter().zip(pad).map(|(byte, pad)| byte ^ pad));
        }
        let computed = Sha1::new().chain_update(&password).chain_update(&key).finalize();
        if computed[..] == check[..] {
            Ok(key)
        } else {
            Err("the password of its key is wrong (ssl.key.password)")
        }
    }

    fn parts(&self) -> pkcs8::der::Result<(AlgorithmIdentifierRef<'_>, &[u8])> {
        SliceReader::new(&self.info)?.sequence(|reader| {
            let algorithm = AlgorithmIdentifierRef::decode(reader)?;
            let data = <&OctetStringRef>::decode(reader)?;
            Ok((algorithm, data.as_bytes()))
        })
    }
}

fn utf16(password: &str) -> Vec<u8> {
    password.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// A big-endian stream as `java.io.DataInputStream` reads it.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, n: usize) -> Result<&'a [u8], &'static str> {
        let (bytes, rest) = self.0.split_at_checked(n).ok_or(CUT_SHORT)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, &'static str> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(CUT_SHORT)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    fn text(&mut self) -> Result<&'a [u8], &'static str> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(CUT_SHORT)?;
        self.0 = rest;
        self.bytes(usize::from(u16::from_be_bytes(*bytes)))
    }

    fn long(&mut self) -> Result<&'a [u8], &'static str> {
        let length = self.u32()?;
        self.bytes(usize::try_from(length).map_err(|_| CUT_SHORT)?)
    }

    fn certificate(&mut self, version: u32) -> Result<Vec<u8>, &'static str> {
        if version == 2 && self.text()? != b"X.509" {
            return Err("it has a certificate that is not X.509");
        }
        Ok(self.long()?.to_vec())
    }
}
