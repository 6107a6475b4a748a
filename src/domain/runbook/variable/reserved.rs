//! Names that no variable may have.

/// What shells, loaders, interpreters and common tools obey.
const EXACT: [&str; 50] = [
    "PATH",
    "HOME",
    "IFS",
    "SHELL",
    "ENV",
    "TMPDIR",
    "KUBECONFIG",
    "USER",
    "LOGNAME",
    "PWD",
    "OLDPWD",
    "CDPATH",
    "PS4",
    "SHELLOPTS",
    "PROMPT_COMMAND",
    "POSIXLY_CORRECT",
    "TERM",
    "TERMINFO",
    "LANG",
    "NLSPATH",
    "LOCPATH",
    "GCONV_PATH",
    "HOSTALIASES",
    "RES_OPTIONS",
    "LOCALDOMAIN",
    "EDITOR",
    "VISUAL",
    "PAGER",
    "LESS",
    "LESSOPEN",
    "LESSCLOSE",
    "GZIP",
    "TAR_OPTIONS",
    "GREP_OPTIONS",
    "RSYNC_RSH",
    "KUBE_EDITOR",
    "PERL5LIB",
    "PERL5OPT",
    "PERL5DB",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "REQUESTS_CA_BUNDLE",
    "OPENSSL_CONF",
    "OPENSSL_MODULES",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    "SSLKEYLOGFILE",
];

const PREFIX: [&str; 24] = [
    "LD_",
    "BASH",
    "AWS_",
    "AZURE_",
    "ARM_",
    "DYLD_",
    "LC_",
    "GIT_",
    "PGBACKREST_",
    "PGSSL",
    "REDISCLI_",
    "GOOGLE_",
    "CLOUDSDK_",
    "SSL_CERT_",
    "CURL_",
    "PYTHON",
    "RUBY",
    "NODE_",
    "JAVA_",
    "_JAVA_",
    "JDK_JAVA_",
    "GLIBC_",
    "MALLOC_",
    "BLACKSTART_",
];

/// The names that libpq reads, beside those of `PREFIX`.
const LIBPQ: [&str; 32] = [
    "PGHOST",
    "PGHOSTADDR",
    "PGPORT",
    "PGDATABASE",
    "PGUSER",
    "PGPASSWORD",
    "PGPASSFILE",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGOPTIONS",
    "PGAPPNAME",
    "PGCONNECT_TIMEOUT",
    "PGCLIENTENCODING",
    "PGTZ",
    "PGDATESTYLE",
    "PGDATA",
    "PGREQUIREPEER",
    "PGREQUIREAUTH",
    "PGREQUIRESSL",
    "PGCHANNELBINDING",
    "PGGSSENCMODE",
    "PGGSSLIB",
    "PGGSSDELEGATION",
    "PGKRBSRVNAME",
    "PGMINPROTOCOLVERSION",
    "PGMAXPROTOCOLVERSION",
    "PGLOADBALANCEHOSTS",
    "PGTARGETSESSIONATTRS",
    "PGLOCALEDIR",
    "PGSYSCONFDIR",
    "PGGEQO",
    "PGREALM",
];

/// Names that the shell, the loader, libpq or the cloud tools would obey.
pub fn is_reserved(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    EXACT.contains(&upper.as_str())
        || LIBPQ.contains(&upper.as_str())
        || PREFIX.iter().any(|p| upper.starts_with(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_obey_is_refused_and_the_rest_is_not() {
        for name in [
            "path",
            "pghost",
            "pgsslmode",
            "pgsslcrldir",
            "google_application_credentials",
            "cloudsdk_core_project",
            "ssl_cert_file",
            "curl_home",
            "rubylib",
            "ruby_lib",
            "node_path",
            "java_tool_options",
            "_java_options",
            "glibc_tunables",
            "all_proxy",
            "lessopen",
            "lessclose",
            "pythonstartup",
            "bash_env",
            "blackstart_x",
            "ld_preload",
        ] {
            assert!(is_reserved(name), "{name}");
        }
        for name in [
            "kube_context",
            "db_host",
            "pg_host",
            "pg_port",
            "pgtarget_host",
            "target",
            "port",
            "path_to",
            "redis_host",
            "restored_host",
            "less_than",
            "dump_dir",
            "namespace",
        ] {
            assert!(!is_reserved(name), "{name}");
        }
    }
}
