# U-Boot script: chooses a system, checks it, starts it. mkimage makes boot.scr of it.
# slots.env (512 octets, overwritten in place) says which slot is good, which is on trial, and how many tries that has left.
# A try is counted before it starts, so a system that hangs or panics is not tried for ever: after its last try the good one
# comes back. Only a slot whose sums are right is started; when neither is, it resets.
# System file: a sector of text (sizes, places and sums of its parts), then the kernel (lzma) and its initrd.

setenv where ${devtype} ${devnum}:${distro_bootpart}
# Places in memory, all within 256 MiB from the script: unpacked kernel, state, system file.
setexpr kernel ${scriptaddr} + 4000000
setexpr state ${scriptaddr} + 1000000
setexpr system ${scriptaddr} + 8000000
setexpr text ${scriptaddr} + 1010000

setenv good a
setenv try
setenv tries 0
if load ${where} ${state} slots.env; then
  env import -t ${state} ${filesize} good try tries
fi
setenv other a
if test "${good}" = "a"; then setenv other b; fi
setenv order ${good} ${other}
setenv trial
if test -n "${try}"; then
  if itest 0x${tries} > 0; then
    setexpr tries ${tries} - 1
    mw.b ${state} 0 200
    if env export -t -s 200 ${state} good try tries; then
      # A state that cannot be written would be tried for ever: then the good system is started.
      if fatwrite ${where} ${state} slots.env 200; then
        setenv order ${try} ${good}
        setenv trial ${try}
      fi
    fi
  fi
fi

if test "${devtype}" = "virtio"; then setenv console console=ttyAMA0; else setenv console console=tty0 console=ttyS1,115200; fi
# Memory for the mail: no tree of trace events in RAM (9 MiB), and no pages of 2 MiB, for which the kernel would keep 22 MiB free and
# much larger lists of free pages for each core.
setenv frugal initcall_blacklist=tracer_init_tracefs transparent_hugepage=never
setenv options
if load ${where} ${text} options.txt; then env import -t -r ${text} ${filesize} options; fi

for slot in ${order}; do
  echo "pigeon: slot ${slot}"
  mw.b ${text} 0 200
  setenv kernel_size 0
  if load ${where} ${text} slot-${slot}/system 200 0; then
    env import -t ${text} 200 kernel_at kernel_size kernel_sum initrd_at initrd_size initrd_sum
    # Kernel and initrd lie one after the other.
    setexpr length ${initrd_at} + ${initrd_size}
    if load ${where} ${system} slot-${slot}/system ${length} 0; then
      setexpr from ${system} + ${kernel_at}
      setexpr initrd ${system} + ${initrd_at}
      setenv fine no
      crc32 ${from} ${kernel_size} ${text}
      if itest.l *${text} == ${kernel_sum}; then
        crc32 ${initrd} ${initrd_size} ${text}
        if itest.l *${text} == ${initrd_sum}; then setenv fine yes; fi
      fi
      if test "${fine}" = "yes"; then
        if lzmadec ${from} ${kernel}; then
          setenv bootargs ${console} panic=10 loglevel=5 ${frugal} pigeon.slot=${slot} pigeon.trial=${trial} pigeon.disk=${devtype} ${options}
          booti ${kernel} ${initrd}:${initrd_size} ${fdt_addr}
        fi
      fi
    fi
  fi
  echo "pigeon: slot ${slot} cannot be started"
done
echo "pigeon: no system can be started; again in 10 s"
sleep 10
reset
