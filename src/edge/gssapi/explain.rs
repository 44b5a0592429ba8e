//! What a failure of Kerberos means for whoever set it up.

use super::library::Failure;
use crate::config::security::{Kerberos, Tickets};

/// Major status: the tickets are over.
const CREDENTIALS_EXPIRED: u32 = 11 << 16;
/// From here on Kerberos counts its errors (`krb5.h`).
const BASE: i32 = -1_765_328_384;

const C_PRINCIPAL_UNKNOWN: i32 = BASE + 6;
const S_PRINCIPAL_UNKNOWN: i32 = BASE + 7;
const NULL_KEY: i32 = BASE + 9;
const ETYPE_NOSUPP: i32 = BASE + 14;
const CLIENT_REVOKED: i32 = BASE + 18;
const KEY_EXP: i32 = BASE + 23;
const PREAUTH_FAILED: i32 = BASE + 24;
const BAD_INTEGRITY: i32 = BASE + 31;
const TKT_EXPIRED: i32 = BASE + 32;
const TKT_NYV: i32 = BASE + 33;
const SKEW: i32 = BASE + 37;
const CONFIG_CANTOPEN: i32 = BASE + 135;
const CONFIG_BADFORMAT: i32 = BASE + 136;
const CC_NOTFOUND: i32 = BASE + 141;
const REALM_UNKNOWN: i32 = BASE + 154;
const KDC_UNREACH: i32 = BASE + 156;
const KT_NOTFOUND: i32 = BASE + 181;
const FCC_PERM: i32 = BASE + 194;
const FCC_NOFILE: i32 = BASE + 195;
const REALM_CANT_RESOLVE: i32 = BASE + 220;
const CONFIG_NODEFREALM: i32 = BASE + 224;
const KT_KVNONOTFOUND: i32 = BASE + 230;
const KT_FORMAT: i32 = BASE + 235;

/// The library's words and what to do next, in a line.
pub(super) fn explain(failure: &Failure, settings: &Kerberos, host: &str) -> String {
    format!("Kerberos: {}; {}", failure.text, next_step(failure, settings, host))
}

fn next_step(failure: &Failure, settings: &Kerberos, host: &str) -> String {
    let principal = settings.principal().unwrap_or("the principal");
    let keytab = match &settings.tickets {
        Tickets::Keytab { path, .. } => Some(path),
        Tickets::Cache { .. } => None,
    };
    match (failure.minor, keytab) {
        (C_PRINCIPAL_UNKNOWN, _) => format!("check {principal} and its realm"),
        (S_PRINCIPAL_UNKNOWN, _) => format!(
            "the broker's principal has to be {0}/{host}@REALM, so check sasl.kerberos.service.name ({0}) and the brokers' \
             advertised addresses; in krb5.conf, [domain_realm] gives a host its realm, and rdns and dns_canonicalize_hostname, \
             which change its name by DNS, are better false",
            settings.service
        ),
        (PREAUTH_FAILED | BAD_INTEGRITY | KT_KVNONOTFOUND | NULL_KEY | ETYPE_NOSUPP, Some(path)) => format!(
            "{path} does not hold the newest key of {principal}, or none of a kind that the KDC takes; make the keytab anew \
             (ktadd of kadmin, ktpass of Active Directory)"
        ),
        // Without a key for new tickets the library complains that there are no old ones.
        (FCC_NOFILE | KT_NOTFOUND | KT_FORMAT, Some(path)) => format!(
            "there is no key of {principal} in {path}: `klist -k {path}` shows whose keys it holds, so set principal to one of \
             those"
        ),
        (CLIENT_REVOKED | KEY_EXP, _) => {
            format!("have {principal} unlocked, or its password renewed, at the KDC")
        }
        (SKEW | TKT_NYV, _) => "the clocks of this machine and of the KDC have to agree; run NTP on both".into(),
        (KDC_UNREACH, _) => {
            "check that a KDC of this realm runs and can be reached from here, and kdc under [realms] of krb5.conf".into()
        }
        (REALM_UNKNOWN | REALM_CANT_RESOLVE, _) => {
            "name a KDC of this realm under [realms] of krb5.conf (/etc/krb5.conf, or what KRB5_CONFIG says)".into()
        }
        (CONFIG_CANTOPEN | CONFIG_BADFORMAT | CONFIG_NODEFREALM, _) => {
            "set default_realm under [libdefaults] of krb5.conf (/etc/krb5.conf, or what KRB5_CONFIG says) and a kdc for each \
             realm, and write principals with their realm"
                .into()
        }
        (_, Some(_)) if is_expired(failure) => {
            "no new ticket could be got, so check that a KDC of this realm runs and can be reached from here".into()
        }
        (_, None) if is_expired(failure) => {
            "run kinit again, or have krenew or k5start do it; with a keytab Twinlog gets new tickets itself".into()
        }
        (FCC_NOFILE | CC_NOTFOUND, None) => format!(
            "run kinit for {principal} (klist shows what is there), say where the tickets are (ticketCache in \
             sasl.jaas.config), or use a keytab"
        ),
        (FCC_PERM, None) => "the ticket cache must be readable for the user that runs Twinlog".into(),
        _ => "KRB5_TRACE=/dev/stderr in the environment shows every step of Kerberos".into(),
    }
}

/// The KDC did not answer.
pub(super) fn is_silence(failure: &Failure) -> bool {
    failure.minor == KDC_UNREACH
}

fn is_expired(failure: &Failure) -> bool {
    failure.minor == TKT_EXPIRED || failure.major == CREDENTIALS_EXPIRED
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keytab() -> Kerberos {
        let tickets = Tickets::Keytab { path: "/k".into(), principal: "mirror@EAST".into() };
        Kerberos { service: "kafka".into(), tickets }
    }

    fn cache() -> Kerberos {
        Kerberos { service: "kafka".into(), tickets: Tickets::Cache { name: None, principal: None } }
    }

    #[test]
    fn every_failure_says_what_to_do() {
        let said = |minor: i32, settings: &Kerberos| {
            let failure = Failure { major: 13 << 16, minor, text: "the library's words".into() };
            explain(&failure, settings, "east1")
        };
        for (minor, settings, expected) in [
            // The numbers are those of krb5.h.
            (-1_765_328_378, keytab(), "check mirror@EAST"),
            (-1_765_328_377, cache(), "kafka/east1@REALM"),
            (-1_765_328_360, keytab(), "make the keytab anew"),
            (-1_765_328_366, keytab(), "unlocked"),
            (-1_765_328_352, keytab(), "no new ticket could be got"),
            (-1_765_328_352, cache(), "run kinit again"),
            (-1_765_328_347, cache(), "run NTP"),
            (-1_765_328_249, cache(), "default_realm"),
            (-1_765_328_243, cache(), "run kinit for the principal"),
            (-1_765_328_230, cache(), "under [realms]"),
            (-1_765_328_228, keytab(), "check that a KDC"),
            (-1_765_328_203, keytab(), "`klist -k /k`"),
            (-1_765_328_353, keytab(), "make the keytab anew"),
            (-1_765_328_190, cache(), "readable"),
            (-1_765_328_189, cache(), "run kinit for"),
            (-1_765_328_189, keytab(), "no key of mirror@EAST in /k"),
            (-1_765_328_164, cache(), "under [realms]"),
            (-1_765_328_160, cache(), "default_realm"),
            (-1_765_328_154, keytab(), "newest key"),
            (-1_765_328_149, keytab(), "no key of mirror@EAST in /k"),
            (7, keytab(), "KRB5_TRACE"),
        ] {
            let line = said(minor, &settings);
            assert!(
                line.starts_with("Kerberos: the library's words; ") && line.contains(expected),
                "{minor}: {line}"
            );
            assert!(!line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn tickets_that_are_over_are_known_by_the_major_status_too() {
        let failure = Failure { major: CREDENTIALS_EXPIRED, minor: 100_001, text: "over".into() };
        assert!(explain(&failure, &cache(), "east1").contains("run kinit again"));
    }
}
