# fruitbuild: choose a slot from the boot-control block, count its tries down, start its kernel.
# Some of the distribution's builds have no setexpr, so counting goes by cases; numbers are hexadecimal.
@MACHINES@
if test -z "${devtype}"; then for w in ${disk}; do if test -z "${devtype}"; then setenv devtype ${w}; else setenv devnum ${w}; fi; done; fi
setenv st0 @COPY0@
setenv st1 @COPY1@
${devtype} dev ${devnum}

# The block holds its CRC big-endian. Some builds' crc32 stores that order, some the processor's; the CRC of a zero word tells.
setenv order_crc true
mw.l ${m}3000 0
crc32 ${m}3000 4 ${m}3004
if itest.l *${m}3004 == 2144df1c; then
  setenv order_crc "cp.b ${m}3000 ${m}3013 1; cp.b ${m}3001 ${m}3012 1; cp.b ${m}3002 ${m}3011 1; cp.b ${m}3003 ${m}3010 1; cp.l ${m}3010 ${m}3000 1"
fi

# Both copies of the block; each counts only with the right magic, format and CRC.
setenv ok0 0
setenv ok1 0
mw.l ${m}0000 0 80
mw.l ${m}1000 0 80
${devtype} read ${m}0000 ${st0} 1
${devtype} read ${m}1000 ${st1} 1
if itest.l *${m}0000 == 31434246; then if itest.l *${m}0004 == 1; then
  crc32 ${m}0000 1fc ${m}3000; run order_crc
  if itest.l *${m}3000 == *${m}01fc; then setenv ok0 1; fi
fi; fi
if itest.l *${m}1000 == 31434246; then if itest.l *${m}1004 == 1; then
  crc32 ${m}1000 1fc ${m}3000; run order_crc
  if itest.l *${m}3000 == *${m}11fc; then setenv ok1 1; fi
fi; fi

# The newest: sequence numbers go 1, 2, 3, 1, …
setenv new none
if test ${ok0} = 1; then setenv new 0; fi
if test ${ok1} = 1; then
  if test ${ok0} = 0; then setenv new 1; fi
  if itest.l *${m}0008 == 1; then if itest.l *${m}1008 == 2; then setenv new 1; fi; fi
  if itest.l *${m}0008 == 2; then if itest.l *${m}1008 == 3; then setenv new 1; fi; fi
  if itest.l *${m}0008 == 3; then if itest.l *${m}1008 == 1; then setenv new 1; fi; fi
fi
if test ${new} = none; then
  echo "fruitbuild: no valid boot-control block, starting slot a"
  mw.l ${m}2000 0 80
  mw.l ${m}2010 2
else
  if test ${new} = 0; then cp.l ${m}0000 ${m}2000 80; else cp.l ${m}1000 ${m}2000 80; fi
fi

setenv slot a
if itest.l *${m}200c == 1; then setenv slot b; fi
setenv trial
setenv dirty
if itest.l *${m}2010 < 2; then
  setenv dirty 1
  if itest.l *${m}2014 == 0; then
    cp.l ${m}2010 ${m}2018 1
    mw.l ${m}2010 2
    echo "fruitbuild: the slot on trial used up its tries, falling back to slot ${slot}"
  else
    setenv trial a
    if itest.l *${m}2010 == 1; then setenv trial b; fi
    if itest.l *${m}2014 == 1; then mw.l ${m}2014 0;
    elif itest.l *${m}2014 == 2; then mw.l ${m}2014 1;
    elif itest.l *${m}2014 == 3; then mw.l ${m}2014 2;
    elif itest.l *${m}2014 == 4; then mw.l ${m}2014 3;
    elif itest.l *${m}2014 == 5; then mw.l ${m}2014 4;
    elif itest.l *${m}2014 == 6; then mw.l ${m}2014 5;
    else mw.l ${m}2014 6; fi
  fi
fi
# Written to the copy that is not the newest, before anything of the slot runs: a try that is not recorded is not made.
if test -n "${dirty}"; then
  if itest.l *${m}2008 == 1; then mw.l ${m}2008 2; elif itest.l *${m}2008 == 2; then mw.l ${m}2008 3; else mw.l ${m}2008 1; fi
  crc32 ${m}2000 1fc ${m}3000; run order_crc
  cp.l ${m}3000 ${m}21fc 1
  setenv target ${st0}
  if test ${new} = 0; then setenv target ${st1}; fi
  if ${devtype} write ${m}2000 ${target} 1; then true; else
    echo "fruitbuild: the boot-control block cannot be written, not trying slot ${trial}"
    setenv trial
  fi
fi

# On trial only the slot on trial is started; else the other slot is the last resort when this one does not load.
if test -n "${trial}"; then setenv order ${trial}; elif test ${slot} = a; then setenv order a b; else setenv order b a; fi
for s in ${order}; do
  echo "fruitbuild: starting slot ${s} ${trial}"
  setenv bp 2
  if test ${s} = b; then setenv bp 3; fi
  setenv args
  if load ${devtype} ${devnum}:${bp} ${m}4000 slot.env; then
    env import -t ${m}4000 ${filesize} args
    setenv bootargs "${args} ${console_args} fruit.slot=${s} fruit.loader=@LOADER@"
    if test -n "${trial}"; then setenv bootargs "${bootargs} fruit.trial=1"; fi
    setenv fdt ${fdt_machine}
    if test -n "${fdt_load}"; then
      if load ${devtype} ${devnum}:${bp} ${fdt_load} ${fdtfile}; then
        setenv fdt ${fdt_load}
        # The Pi's firmware describes the HAT on the board in its own tree; the slot's tree gets that node.
        setenv hat_product
        setenv hat_vendor
        fdt addr ${fdt_machine}
        fdt get value hat_product /hat product
        if test -n "${hat_product}"; then
          fdt get value hat_vendor /hat vendor
          fdt addr ${fdt_load}
          fdt resize 1000
          fdt mknode / hat
          fdt set /hat product "${hat_product}"
          fdt set /hat vendor "${hat_vendor}"
        fi
      fi
    fi
    if load ${devtype} ${devnum}:${bp} ${kernel} kernel; then
      setenv kernel_size ${filesize}
      if load ${devtype} ${devnum}:${bp} ${ramdisk} initramfs; then
        @BOOT@
      fi
    fi
  fi
  echo "fruitbuild: slot ${s} does not start"
done
reset
