//! What an image for a board needs beside the server: settings from the card's FAT partition, the data partition grown, a
//! name in the local network, releases for the other system slot. Called by the image's init, each verb once:
//!
//! ```text
//! pigeon board first-boot [--boot DIR] [--data DIR] [--keep DIR] [--settings FILE] [--memory BYTES] [--hold]
//!         [--system DIR] [--slot a|b]
//!     at every boot, before the server: reads DIR/pigeon.toml (or pigeon.toml.txt, or what Raspberry Pi Imager wrote:
//!     custom.toml); writes DATA/pigeon.toml (`data = "."`), makes accounts, erases secrets from the card, writes
//!     DIR/pigeon-report.txt and the settings (default /run/board/settings, mode 0600). The report goes to stdout too.
//!     The certificate that [tls] names is taken over into DATA/certificate.pem and its key erased from the card.
//!     Exit 0 whatever is in the file. A partition that cannot be mounted is left out: without the data nothing is erased. What
//!     the card says is kept in the folder `--keep`, root's own, for a start at which it cannot be read.
//!     `--hold`: nothing is done in DATA. The report says which system runs, and which lies beside it.
//! pigeon board wants-restore --boot DIR
//!     before that, while there is no store: prints `yes` where DIR's file asks for the mail of a backup, `unclear` where
//!     it cannot be told (a word that is neither true nor false, a file that is no text), else `no`.
//! pigeon board name --boot DIR
//!     before that, too: prints the board's name as DIR's files say it.
//! pigeon board blank --boot DIR
//!     when the server is up: overwrites what is free on DIR's FAT with zeros, if first-boot erased something (pigeon-zeros.tmp).
//! pigeon board report --boot DIR [--settings FILE] [--name NAME] [ADDRESS...]
//!     when the network is up: the report's last part says how to connect, to this name and these addresses. Written when it changed.
//! pigeon board grow --disk DEV --partition N --mount DIR
//!     grows partition N (1 to 4, the last one) and the ext4 mounted at DIR to the end of the disk; nothing to do: exit 0.
//! pigeon [--config FILE] board mdns --name NAME [--interface NAME]
//!     answers NAME.local, and says where FILE has the services, in the foreground, for ever; another NAME there: NAME-2. Prints the
//!     name it has taken.
//! pigeon board clock [SERVER...]
//!     SNTP in the foreground, for ever; two servers must agree before the clock is set to another time. Prints `right`
//!     once it is.
//! pigeon board supervise [--silence SECONDS] [--folder DIR] -- COMMAND...
//!     runs the server as systemd would: DIR/ready (default /run/board) while it serves, DIR/serve.pid its number; one that
//!     is silent too long is ended. Exit: the server's code.
//! pigeon board healthy --boot DIR [--slot a|b]
//!     the running slot is good from now on (default: `pigeon.slot=` of /proc/cmdline).
//! pigeon update --newest FILE... [--key FILE] [--system DIR]
//!     prints which of these has the highest version, if that is later than the running one's; on stderr, why others are none.
//! pigeon update --check FILE [--key FILE] [--system DIR]
//! pigeon update --apply FILE [--key FILE] [--boot DIR] [--slot a|b] [--system DIR] [--allow-older]
//!     the running system's /etc has pigeon-board (`rpi-arm64`), pigeon-version and pigeon/release.pub (minisign).
//! ```
//!
//! Settings are `KEY='value'` lines for a shell (`'` as `'\''`); a key without a value is there, empty:
//! `HOSTNAME` (the box, one label), `MAILNAME` (the server's `hostname`), `ADDRESS` (`192.0.2.10/24`, blank between; empty:
//! DHCP), `GATEWAY`, `DNS` (blank between), `NTP` (blank between, `host` or `host:port`), `WIFI_SSID`, `WIFI_SSID_HEX`,
//! `WIFI_PSK` (64 hex digits; empty: open), `WIFI_COUNTRY` (two letters), `WIFI_HIDDEN` (1 or empty), `SSH_KEY` (one key a
//! line).
//!
//! Slots: `DIR/slot-a/system` and `DIR/slot-b/system`, as long as a system may become; and `DIR/slots.env`, 512 octets, always
//! overwritten in place: lines `good=a`, `try=b` or `try=`, `tries=2`, padded with line ends. The boot loader boots `try` while
//! `tries` is above 0, having counted it down, else `good`, with `pigeon.slot=a` (or b) on the kernel's command line.
//!
//! Knows the mail server by its configuration and its accounts alone.

mod blank;
mod certificate;
mod clock;
mod configuration;
mod copies;
mod dns_sd;
mod erase;
mod files;
mod first_boot;
mod grow;
mod ioctl;
mod judge;
mod mbr;
mod mdns;
mod release;
mod report;
mod settings;
mod slots;
mod sntp;
mod sources;
mod supervise;
mod systems;
mod text;
mod unread;
mod update;

pub use blank::blank;
pub use certificate::Examine;
pub use clock::keep_clock;
pub use first_boot::{NewAccount, Outcome, Plan, machine_memory, tell_addresses};
pub use grow::{GrowError, Grown, grow};
pub use mbr::TableError;
pub use mdns::answer_for_name;
pub use release::{Release, ReleaseError, is_version, judge, newest, open, verify};
pub use slots::{Slot, healthy};
pub use sources::{Folders, told_name, wants_restore};
pub use supervise::Supervision;
pub use systems::Running;
pub use update::apply;
