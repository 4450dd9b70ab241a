//! Where thresholds come from.

/// Where a threshold comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// What this program needs or does.
    EtcdHa,
    /// etcd's hardware guide.
    Hardware,
    /// etcd's frequently asked questions.
    Faq,
    /// etcd's tuning guide.
    Tuning,
    /// etcd's page on its limits.
    Limits,
    /// What etcd is released for.
    Platforms,
    /// What etcd itself refuses when it starts.
    Etcd,
    /// What bbolt, which keeps etcd's data, asks of a file system.
    Bbolt,
}

impl Source {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EtcdHa => "etcd-ha",
            Self::Hardware => "etcd hardware guide",
            Self::Faq => "etcd FAQ",
            Self::Tuning => "etcd tuning guide",
            Self::Limits => "etcd system limits",
            Self::Platforms => "etcd platforms",
            Self::Etcd => "etcd",
            Self::Bbolt => "bbolt",
        }
    }

    /// Where to read it.
    #[must_use]
    pub fn url(self) -> Option<&'static str> {
        match self {
            Self::EtcdHa => None,
            Self::Hardware => Some("https://etcd.io/docs/latest/op-guide/hardware/"),
            Self::Faq => Some("https://etcd.io/docs/latest/faq/"),
            Self::Tuning => Some("https://etcd.io/docs/latest/tuning/"),
            Self::Limits => Some("https://etcd.io/docs/latest/dev-guide/limit/"),
            Self::Platforms => Some("https://etcd.io/docs/latest/op-guide/supported-platform/"),
            Self::Etcd => Some("https://github.com/etcd-io/etcd/blob/main/server/embed/etcd.go"),
            Self::Bbolt => Some("https://github.com/etcd-io/bbolt#caveats--limitations"),
        }
    }
}
