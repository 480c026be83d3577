//! The shape of the verbs that an image for a board calls, and their help.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum BoardOrder {
    /// Take over what pigeon.toml on the card says, and erase the passwords from it
    #[command(after_help = "\
At every boot, before the server. Reads BOOT/pigeon.toml (or pigeon.toml.txt, or Raspberry Pi
Imager's custom.toml), writes the server's part to DATA/pigeon.toml, makes the accounts, overwrites
the passwords on the card, and writes settings for the system's scripts. Mistakes are told in
BOOT/pigeon-report.txt and on standard output; all that makes sense is done beside, and the exit
code is 0.

A partition that cannot be mounted is left out. Without the data directory nothing can be taken
over, so no password is erased; without the card the settings are those that it said last.

Example:
  pigeon board first-boot --boot /boot --data /data/mail --keep /data/board")]
    FirstBoot {
        /// The card's FAT partition, mounted for writing
        #[arg(long, value_name = "DIR")]
        boot: Option<PathBuf>,
        /// The data directory
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// Where what the card says is kept without its passwords, for a start without it; root's own
        #[arg(long, value_name = "DIR")]
        keep: Option<PathBuf>,
        /// Where the settings for a shell go
        #[arg(long, value_name = "FILE", default_value = "/run/board/settings")]
        settings: PathBuf,
        /// The board's memory in bytes [default: MemTotal of /proc/meminfo]
        #[arg(long, value_name = "BYTES")]
        memory: Option<u64>,
        /// Leave the data directory as it is: make no account, write no configuration
        #[arg(long)]
        hold: bool,
        /// Where the running system says which version it is
        #[arg(long, value_name = "DIR", default_value = "/etc")]
        system: PathBuf,
        /// The slot that runs [default: pigeon.slot= of /proc/cmdline]
        #[arg(long, value_name = "SLOT")]
        slot: Option<String>,
    },

    /// Say whether the card's file asks for the mail of a backup
    #[command(after_help = "\
Before first-boot, while the data partition holds no mail: prints yes where pigeon.toml (or
pigeon.toml.txt) says `restore = true` below [board], in whatever way of writing TOML has for it,
unclear where it says something else of it or is no text that can be read, else no. Writes nothing.

Example:
  pigeon board wants-restore --boot /boot")]
    WantsRestore {
        /// The card's FAT partition
        #[arg(long, value_name = "DIR")]
        boot: PathBuf,
    },

    /// Say what the card's files call the board
    #[command(after_help = "Example:\n  pigeon board name --boot /boot")]
    Name {
        /// The card's FAT partition
        #[arg(long, value_name = "DIR")]
        boot: PathBuf,
    },

    /// Overwrite what is free on the card's FAT with zeros, once after passwords were erased
    #[command(after_help = "\
Editors leave earlier drafts of a file there. first-boot notes that it is to be done
(BOOT/pigeon-zeros.tmp); where that is not, nothing is. All free space is taken for the time it
lasts.

Example:
  pigeon board blank --boot /boot")]
    Blank {
        /// The card's FAT partition, mounted for writing
        #[arg(long, value_name = "DIR")]
        boot: PathBuf,
    },

    /// Say in the card's report how to connect
    #[command(after_help = "Example:\n  pigeon board report --boot /boot 192.0.2.10 2001:db8::10")]
    Report {
        /// The card's FAT partition, mounted for writing
        #[arg(long, value_name = "DIR")]
        boot: PathBuf,
        /// The settings that first-boot wrote
        #[arg(long, value_name = "FILE", default_value = "/run/board/settings")]
        settings: PathBuf,
        /// The name that it answers for, without .local [default: as first-boot wrote it]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// The board's addresses
        #[arg(value_name = "ADDRESS")]
        addresses: Vec<std::net::IpAddr>,
    },

    /// Grow the last partition and the ext4 on it to the end of the disk
    #[command(after_help = "\
The partition table must be an MBR and the partition its last one. Nothing to do is no failure; cut
anywhere, it is done again at the next boot.

Example:
  pigeon board grow --disk /dev/mmcblk0 --partition 2 --mount /data")]
    Grow {
        /// The disk
        #[arg(long, value_name = "DEV")]
        disk: PathBuf,
        /// The partition's number, from 1
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=4))]
        partition: u8,
        /// Where it is mounted
        #[arg(long, value_name = "DIR")]
        mount: PathBuf,
    },

    /// Answer for NAME.local in the local network
    #[command(after_help = "\
Multicast DNS (RFC 6762) for the name and, where --config names the server's configuration, for what
mail programs look for (RFC 6763), at the ports it listens on. If another machine has the name, it
becomes NAME-2, and asks for NAME again an hour after the last conflict. The name that is taken is
printed, a line each time that it or the machine's addresses change.

Example:
  pigeon --config /data/mail/pigeon.toml board mdns --name pigeon")]
    Mdns {
        /// The name, without .local
        #[arg(long, value_name = "NAME")]
        name: String,
        /// Answer on this interface alone [default: all but loopback]
        #[arg(long, value_name = "NAME")]
        interface: Option<String>,
    },

    /// Keep the clock right, by asking time servers
    #[command(after_help = "\
Prints a line when the clock is right for the first time.

Example:\n  pigeon board clock 192.0.2.1 pool.ntp.org")]
    Clock {
        /// Time servers [default: 0.debian.pool.ntp.org to 3.debian.pool.ntp.org]
        #[arg(value_name = "SERVER")]
        servers: Vec<String>,
    },

    /// Run the server, and end it when it hangs
    #[command(after_help = "\
As systemd would: the server says when it is ready, and from then on that it lives (sd_notify).
FOLDER/ready is there while it serves, FOLDER/serve.pid holds its process number. The exit code is
the server's own; 1 when it was ended.

Example:
  pigeon board supervise -- su pigeon -c 'exec pigeon serve'")]
    Supervise {
        /// The server may be silent for so many seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
        silence: u64,
        /// Where to say what it does
        #[arg(long, value_name = "DIR", default_value = "/run/board")]
        folder: PathBuf,
        /// The server's command
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<std::ffi::OsString>,
    },

    /// Mark the running system as good
    #[command(after_help = "Example:\n  pigeon board healthy --boot /boot")]
    Healthy {
        /// The card's FAT partition, mounted for writing
        #[arg(long, value_name = "DIR")]
        boot: PathBuf,
        /// The slot that runs [default: pigeon.slot= of /proc/cmdline]
        #[arg(long, value_name = "SLOT")]
        slot: Option<String>,
    },
}

/// `update`.
#[derive(Args, Debug)]
#[group(skip)]
pub(super) struct UpdateArgs {
    /// Verify a release file and tell what it is
    #[arg(long, value_name = "FILE", conflicts_with = "apply", required_unless_present_any = ["apply", "newest"])]
    pub(super) check: Option<PathBuf>,
    /// Write a release file into the other system slot; the next boot tries it
    #[arg(long, value_name = "FILE")]
    pub(super) apply: Option<PathBuf>,
    /// Tell which release file has the highest version, if it is later than the running system's
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["check", "apply"])]
    pub(super) newest: Vec<PathBuf>,
    /// The public key that signed it [default: SYSTEM/pigeon/release.pub]
    #[arg(long, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
    /// The card's FAT partition, mounted for writing
    #[arg(long, value_name = "DIR", default_value = "/boot")]
    pub(super) boot: PathBuf,
    /// The slot that runs [default: pigeon.slot= of /proc/cmdline]
    #[arg(long, value_name = "SLOT")]
    pub(super) slot: Option<String>,
    /// Where the running system says which board and version it is
    #[arg(long, value_name = "DIR", default_value = "/etc")]
    pub(super) system: PathBuf,
    /// Take a release that is older than the running system
    #[arg(long)]
    pub(super) allow_older: bool,
}
