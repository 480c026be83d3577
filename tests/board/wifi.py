"""Wi-Fi: only that what is unpacked for it starts, on the kernel's simulated radio; real radios were not tested."""

from board.machine import Machine


def simulated(report, world):
    """A simulated radio appears, supplicant and regulatory data are unpacked and start."""
    label = "Wi-Fi, simulated radio"
    text = world.first_boot_file + '[wifi]\nssid = "house"\npassword = "twelve-pigeons"\ncountry = "DE"\n'
    card = world.fresh_card("wifi.img", text)
    with Machine(card, world.folder / "wifi", start=world.direct, options="pigeon.radio=simulated") as machine:
        machine.greeting(world.patience)
        place, _, _ = machine.wait(r"wlan0: joining house", world.patience)
        machine.wait(r"memory: ", world.patience)
        report.check(label, "the supplicant starts", not machine.said("Wi-Fi does not start"), machine.tail())
    report.check(label, "the password is nowhere on the card", not card.holds(b"twelve-pigeons"))
