//! Trace headers (RFC 5321 section 4.4): `Return-Path` and `Received`, put on top of a message. Pure.

use std::net::IpAddr;

/// How a message came (RFC 3848; RFC 6531 section 4.3 for the UTF8 forms).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protocol {
    /// The client said EHLO, not HELO.
    pub extended: bool,
    /// Under TLS.
    pub tls: bool,
    /// By somebody who has logged in.
    pub authenticated: bool,
    /// With SMTPUTF8.
    pub utf8: bool,
}

impl Protocol {
    /// The registered name, for the `with` clause.
    pub fn name(self) -> &'static str {
        match (self.utf8, self.extended || self.tls || self.authenticated, self.tls, self.authenticated) {
            (true, _, false, false) => "UTF8SMTP",
            (true, _, true, false) => "UTF8SMTPS",
            (true, _, false, true) => "UTF8SMTPA",
            (true, _, true, true) => "UTF8SMTPSA",
            (false, false, _, _) => "SMTP",
            (false, true, false, false) => "ESMTP",
            (false, true, true, false) => "ESMTPS",
            (false, true, false, true) => "ESMTPA",
            (false, true, true, true) => "ESMTPSA",
        }
    }
}

/// What is known about how a message arrived.
#[derive(Clone, Copy, Debug)]
pub struct Trace<'a> {
    /// The reverse-path without angle brackets; empty for the null path.
    pub return_path: &'a str,
    /// What the client called itself in EHLO or HELO.
    pub client: &'a str,
    /// Where it came from.
    pub peer: IpAddr,
    /// Our name.
    pub hostname: &'a str,
    /// How it came.
    pub protocol: Protocol,
    /// Our name for this message, also in the log.
    pub id: &'a str,
    /// The recipient, when there is only one: naming several would tell each about the others.
    pub recipient: Option<&'a str>,
    /// When it arrived, as RFC 5322 section 3.3 writes it.
    pub date: &'a str,
}

impl Trace<'_> {
    /// The header lines, `Return-Path` first, each with its CRLF.
    pub fn print(&self) -> String {
        let Self { return_path, client, hostname, id, date, .. } = self;
        let (peer, with) = (address_literal(self.peer), self.protocol.name());
        let mut text = format!("Return-Path: <{return_path}>\r\nReceived: from {client} ({peer})\r\n");
        text.push_str(&format!("\tby {hostname} with {with} id {id}"));
        if let Some(recipient) = self.recipient {
            text.push_str(&format!("\r\n\tfor <{recipient}>"));
        }
        text.push_str(&format!("; {date}\r\n"));
        text
    }
}

/// An IP address as RFC 5321 section 4.1.3 writes it: `[192.0.2.1]`, `[IPv6:2001:db8::1]`.
pub fn address_literal(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: Trace<'static> = Trace {
        return_path: "carol@example.net",
        client: "client.example.net",
        peer: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
        hostname: "mx.example.org",
        protocol: Protocol { extended: true, tls: true, authenticated: false, utf8: false },
        id: "abc123",
        recipient: Some("alice@example.org"),
        date: "Fri, 21 Nov 2025 15:44:00 +0000",
    };

    #[test]
    fn received_names_client_peer_host_protocol_id_recipient_and_time() {
        let expected = "Return-Path: <carol@example.net>\r\n\
            Received: from client.example.net ([192.0.2.1])\r\n\
            \tby mx.example.org with ESMTPS id abc123\r\n\
            \tfor <alice@example.org>; Fri, 21 Nov 2025 15:44:00 +0000\r\n";
        assert_eq!(TRACE.print(), expected);
    }

    #[test]
    fn several_recipients_are_not_told_of_each_other_and_the_null_path_stays_null() {
        let peer = IpAddr::V6("2001:db8::1".parse().unwrap());
        let text = Trace { return_path: "", recipient: None, peer, client: "[IPv6:2001:db8::1]", ..TRACE }.print();
        let expected = "Return-Path: <>\r\n\
            Received: from [IPv6:2001:db8::1] ([IPv6:2001:db8::1])\r\n\
            \tby mx.example.org with ESMTPS id abc123; Fri, 21 Nov 2025 15:44:00 +0000\r\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_mapped_ipv4_peer_is_written_as_ipv4() {
        assert_eq!(address_literal("::ffff:192.0.2.7".parse().unwrap()), "[192.0.2.7]");
    }

    #[test]
    fn every_protocol_has_its_registered_name() {
        // extended, tls, authenticated, utf8; RFC 3848 section 2, RFC 6531 section 4.3.
        let rows = [
            (false, false, false, false, "SMTP"),
            (true, false, false, false, "ESMTP"),
            (true, true, false, false, "ESMTPS"),
            (true, false, true, false, "ESMTPA"),
            (true, true, true, false, "ESMTPSA"),
            (false, true, false, false, "ESMTPS"),
            (true, false, false, true, "UTF8SMTP"),
            (true, true, false, true, "UTF8SMTPS"),
            (true, false, true, true, "UTF8SMTPA"),
            (true, true, true, true, "UTF8SMTPSA"),
        ];
        for (extended, tls, authenticated, utf8, name) in rows {
            assert_eq!(Protocol { extended, tls, authenticated, utf8 }.name(), name);
        }
    }
}
