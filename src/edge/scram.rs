//! What a cluster is asked about users with SCRAM passwords. It tells no password, nor anything that is made of one.

use super::admin::{Admin, AdminError, check};
use super::quotas::since;
use crate::control::scram::Credentials;
use kafka_protocol::messages::{DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse};

const VERSIONS: (i16, i16) = (0, 0);

/// All of the cluster's.
pub(super) fn list(admin: &mut Admin) -> Result<Credentials, AdminError> {
    let (min, max) = VERSIONS;
    let controller = admin.controller();
    let answer = admin
        .client()
        .call(controller, min, max, |_| DescribeUserScramCredentialsRequest::default().with_users(None));
    let answer = answer.map_err(|error| since(error, "2.7"))?;
    check(answer.error_code, "listing users with SCRAM passwords (DESCRIBE on the cluster)")?;
    Ok(read(&answer))
}

fn read(answer: &DescribeUserScramCredentialsResponse) -> Credentials {
    let users = answer.results.iter().filter(|user| user.error_code == 0);
    let all = users.flat_map(|user| {
        let name = &user.user;
        user.credential_infos.iter().map(move |info| ((name.to_string(), info.mechanism), info.iterations))
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::describe_user_scram_credentials_response::{
        CredentialInfo, DescribeUserScramCredentialsResult,
    };
    use kafka_protocol::protocol::StrBytes;

    #[test]
    fn each_mechanism_of_each_user_is_read_and_errors_are_left_out() {
        let user = |name: &'static str, code: i16, mechanisms: &[i8]| {
            let infos = mechanisms
                .iter()
                .map(|mechanism| CredentialInfo::default().with_mechanism(*mechanism).with_iterations(4096));
            DescribeUserScramCredentialsResult::default()
                .with_user(StrBytes::from_static_str(name))
                .with_error_code(code)
                .with_credential_infos(infos.collect())
        };
        let answer = DescribeUserScramCredentialsResponse::default().with_results(vec![
            user("a", 0, &[1, 2]),
            user("b", 91, &[1]),
            user("c", 0, &[]),
        ]);
        let expected = [(("a".to_owned(), 1), 4096), (("a".to_owned(), 2), 4096)];
        assert_eq!(read(&answer), expected.into());
    }
}
