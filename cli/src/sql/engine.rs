//! Who computes answers from files.

use std::str::FromStr;

/// Who computes answers from files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EngineChoice {
    /// This process.
    Embedded,
    /// The executors of a Ballista scheduler, `HOST:PORT`.
    Ballista(String),
}

impl FromStr for EngineChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "embedded" {
            return Ok(Self::Embedded);
        }
        let address = text
            .strip_prefix("ballista=")
            .ok_or("write embedded, or ballista=HOST:PORT of a `parallax-scheduler`")?;
        match address.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Self::Ballista(address.to_owned()))
            }
            _ => Err(format!(
                "`{address}` is no address: write ballista=HOST:PORT, such as ballista=10.0.0.5:50050"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_read() {
        assert_eq!("embedded".parse(), Ok(EngineChoice::Embedded));
        assert_eq!("ballista=h:1".parse(), Ok(EngineChoice::Ballista("h:1".into())));
        assert_eq!("ballista=[::1]:1".parse(), Ok(EngineChoice::Ballista("[::1]:1".into())));
        for wrong in [
            "",
            "ballista",
            "ballista=",
            "ballista=h",
            "ballista=h:x",
            "ballista=:1",
            "duck",
        ] {
            assert!(EngineChoice::from_str(wrong).is_err(), "{wrong}");
        }
    }
}
