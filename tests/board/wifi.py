"""Wi-Fi over the kernel's simulated radio (mac80211_hwsim): the board joins an access point on a second radio of the same machine and is
given an address through the air. Real radios and their firmware were not tested."""

import subprocess

from board import systems
from board.machine import Machine

NAME, PASSWORD = "house", "twelve-pigeons"
# The other end, in the same machine: the first radio (wlan0) is the board's, the second is an access point that gives out
# addresses. The mark that the board's own scripts know keeps them off it.
ACCESS_POINT = (
    systems.SCRIPT,
    rb"""#!/bin/sh
. /lib/pigeon/functions
until [ -e "$settings" ]; do sleep 1; done
extra
mkdir /run/net.wlan1
modprobe mac80211_hwsim radios=2
until [ -e /sys/class/net/wlan1 ]; do sleep 1; done
cat > /run/point <<END
network={
  ssid="%s"
  mode=2
  frequency=2412
  key_mgmt=WPA-PSK
  proto=RSN
  pairwise=CCMP
  psk="%s"
}
END
wpa_supplicant -B -i wlan1 -D nl80211 -c /run/point > /dev/kmsg 2>&1
ip addr add 192.168.77.1/24 dev wlan1
printf 'start 192.168.77.10\nend 192.168.77.20\ninterface wlan1\nlease_file /run/leases\noption subnet 255.255.255.0\n' > /run/udhcpd.conf
exec udhcpd -f /run/udhcpd.conf
"""
    % (NAME.encode(), PASSWORD.encode()),
)


def simulated(report, world):
    """The board joins a simulated access point with the password of its file; not with another."""
    label = "Wi-Fi, simulated radio"
    inittab = (world.top / "board" / "root" / "etc" / "inittab").read_bytes() + b"::once:/lib/pigeon/access-point\n"
    start = systems.started_with(world.direct, world.folder, {"etc/inittab": (systems.PLAIN, inittab), "lib/pigeon/access-point": ACCESS_POINT})
    for password, joins in ((PASSWORD, True), ("thirteen-pigeons", False)):
        text = world.first_boot_file + f'[wifi]\nssid = "{NAME}"\npassword = "{password}"\ncountry = "DE"\n'
        card = world.fresh_card("wifi.img", text)
        with Machine(card, world.folder / f"wifi-{joins}", start=start) as machine:
            machine.greeting(world.patience)
            machine.wait(rf"wlan0: joining {NAME}", world.patience)
            if joins:
                _, at, match = machine.wait(r"wlan0 has (192\.168\.77\.\d+)", world.patience)
                print(f"  {label}: {match[1]} {at:.0f} s after power-on")
                report.check(label, "it is given an address through the air", True)
            else:
                _, _, match = machine.wait(rf"wlan0: (the Wi-Fi {NAME} does not take the password.*)", world.patience)
                report.check(label, "a wrong password is told", "wlan0 has" not in machine.tail(200), match[1])
        report.check(label, "the password is nowhere on the card", not card.holds(password.encode()))
