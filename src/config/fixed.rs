//! A board's fixed addresses: `address` and `gateway` in `[board]`, and whether they make sense together.

use super::read::Reader;
use std::net::IpAddr;
use toml::de::DeTable;

const ADDRESS: &str = "write address = \"192.168.1.10/24\"; without the line the board asks the network for one";

impl Reader<'_> {
    /// Fixed addresses, and the way out of their network. To be called behind `dns`, whose place it asks for.
    pub(super) fn fixed(&mut self, root: &DeTable<'_>) -> (Vec<String>, Option<IpAddr>) {
        let (prefixes, addresses) = self.prefixes(root).into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
        let gateway = self.gateway(root, &prefixes);
        self.way_out(&prefixes);
        (addresses, gateway)
    }

    fn prefixes(&mut self, root: &DeTable<'_>) -> Vec<(Prefix, String)> {
        let mut prefixes = Vec::new();
        for (text, place) in self.list_of(root, "board", "address", ADDRESS) {
            let Some(prefix) = Prefix::parse(&text) else {
                self.wrong(place, "this is no address with a prefix length", ADDRESS);
                continue;
            };
            let message = || "this is the number of the network itself, or of all in it: no machine has it".to_owned();
            if self.demand(!prefix.is_for_all(), place, message, ADDRESS) {
                prefixes.push((prefix, text));
            }
        }
        prefixes
    }

    /// One that no fixed address reaches is none; the board's own network reaches it all the same.
    fn gateway(&mut self, root: &DeTable<'_>, prefixes: &[Prefix]) -> Option<IpAddr> {
        const REMEDY: &str = "write gateway = \"192.168.1.1\", or leave the line out";
        let (text, place) = self.string(root, "board", "gateway", REMEDY)?;
        let gateway = text.parse::<IpAddr>().ok();
        let shown = self.shown(&text, &place);
        self.demand(gateway.is_some(), place.clone(), || format!("{shown} is no address"), REMEDY);
        if self.places.of("board.address").is_none() {
            self.warn(place, "`gateway` without `address` means nothing", ADDRESS);
            return gateway;
        }
        // Where no address is good that is told, and says nothing of the way out.
        let is_reached = |gateway: &IpAddr| prefixes.is_empty() || prefixes.iter().any(|one| one.reaches(*gateway));
        let remedy = "write the router's address in the same network as `address`, as the router itself shows it";
        let message = || format!("{shown} is in no network of `address`: the board has no way out");
        gateway.filter(|gateway| self.demand(is_reached(gateway), place, message, remedy))
    }

    /// Who fixes the addresses must say the rest, too: nobody is asked for it.
    fn way_out(&mut self, prefixes: &[Prefix]) {
        let is_missing = |key: &str| self.places.of(key).is_none();
        // IPv6 routers announce themselves, but the name servers that they announce are not heard.
        let has_gateway = !is_missing("board.gateway") || prefixes.iter().all(|one| one.address.is_ipv6());
        let message = match (has_gateway, is_missing("board.dns")) {
            _ if prefixes.is_empty() => return,
            (true, false) => return,
            (true, true) => "`address` without `dns`: the board finds no names, and so no time servers",
            (false, false) => "`address` without `gateway`: the board reaches its own network alone, so it has no time",
            (false, true) => {
                "`address` without `gateway` and `dns`: the board reaches its own network alone: no time, no names"
            }
        };
        let place = self.places.of("board.address").unwrap_or_default();
        self.warn(
            place,
            message,
            "write gateway = \"192.168.1.1\" and dns = [\"192.168.1.1\"]: mostly both are the router",
        );
    }
}

/// `192.0.2.10/24`, `2001:db8::10/64`.
struct Prefix {
    address: IpAddr,
    /// From 1.
    length: u32,
}

impl Prefix {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let (address, length) = (address.parse::<IpAddr>().ok()?, u32::from(length.parse::<u8>().ok()?));
        let most = if address.is_ipv4() { 32 } else { 128 };
        (1..=most).contains(&length).then_some(Self { address, length })
    }

    /// Whether a machine with this address speaks to the other one directly. Every link has IPv6's link-local ones.
    fn reaches(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (own.to_bits() ^ other.to_bits()) & self.mask() == 0,
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = (own.to_bits() ^ other.to_bits()).leading_zeros();
                differing >= self.length || other.is_unicast_link_local()
            }
            _ => false,
        }
    }

    /// Of a network, the first number is its own and the last is that of all in it (RFC 1122 section 3.2.1.3), but
    /// where there are two at most (RFC 3021).
    fn is_for_all(&self) -> bool {
        let IpAddr::V4(own) = self.address else { return false };
        let host = own.to_bits() & !self.mask();
        self.length < 31 && (host == 0 || host == !self.mask())
    }

    /// Of IPv4.
    fn mask(&self) -> u32 {
        u32::MAX.checked_shl(32_u32.saturating_sub(self.length)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Board, Parsed, Problem, read_board};
    use std::path::Path;

    fn read(text: &str) -> (Parsed, Board, Vec<Problem>) {
        read_board(text, Path::new("/data"))
    }

    #[test]
    fn fixed_addresses_come_with_a_way_out_and_are_those_of_a_machine() {
        let rest = "dns = \"192.168.1.1\"\n";
        let rows = [
            ("address = \"192.168.1.10/24\"\ngateway = \"192.168.1.1\"\n", rest, "", true),
            ("address = \"192.168.1.10/24\"\n", "", "without `gateway` and `dns`", false),
            ("address = \"192.168.1.10/24\"\n", rest, "without `gateway`: ", false),
            ("address = \"192.168.1.10/24\"\ngateway = \"192.168.1.1\"\n", "", "without `dns`", true),
            (
                "address = \"192.168.1.10/24\"\ngateway = \"192.168.2.1\"\n",
                rest,
                "`192.168.2.1` is in no network",
                false,
            ),
            ("address = [\"10.0.0.9/8\", \"192.168.2.9/24\"]\ngateway = \"192.168.2.1\"\n", rest, "", true),
            ("address = \"192.168.1.10/32\"\ngateway = \"192.168.1.1\"\n", rest, "in no network", false),
            ("address = \"2001:db8::9/64\"\ngateway = \"fe80::1\"\n", rest, "", true),
            ("address = \"2001:db8::9/64\"\ngateway = \"2001:db8::1\"\n", rest, "", true),
            ("address = \"2001:db8::9/64\"\ngateway = \"2001:db8:0:1::1\"\n", rest, "in no network", false),
            ("address = \"2001:db8::9/64\"\ngateway = \"192.168.1.1\"\n", rest, "in no network", false),
            ("address = \"2001:db8::9/64\"\n", rest, "", false),
            ("gateway = \"192.168.1.1\"\n", rest, "without `address`", true),
        ];
        for (lines, rest, words, has_gateway) in rows {
            let (_, board, problems) = read(&format!("[board]\n{lines}{rest}"));
            assert_eq!(problems.len(), usize::from(!words.is_empty()), "{lines}: {problems:?}");
            assert!(problems.iter().all(|problem| problem.message.contains(words)), "{lines}: {problems:?}");
            assert_eq!(board.gateway.is_some(), has_gateway, "{lines}");
            assert_eq!(board.addresses.is_empty(), !lines.contains("address"), "the own network is reached: {lines}");
        }
        for (address, is_taken) in [
            ("192.168.1.0/24", false),
            ("192.168.1.255/24", false),
            ("192.168.0.255/23", true),
            ("192.168.0.0/23", false),
            ("192.168.1.4/31", true),
            ("192.168.1.5/31", true),
            ("192.168.1.0/32", true),
            ("128.0.0.1/1", true),
            ("128.0.0.1/0", false),
            ("192.168.1.9/33", false),
            ("2001:db8::/64", true),
        ] {
            let (_, board, problems) = read(&format!("[board]\naddress = \"{address}\"\ngateway = \"192.168.9.1\"\n"));
            assert_eq!(board.addresses.len(), usize::from(is_taken), "{address}: {problems:?}");
            let told = problems
                .iter()
                .filter(|problem| problem.message.contains("no machine") || problem.message.contains("no address"));
            assert_eq!(told.count(), usize::from(!is_taken), "{address}: {problems:?}");
        }
    }
}
