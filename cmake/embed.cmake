# A file as C: NAME[], its bytes and a zero, and NAME_size, which HEADER declares. A file whose
# SHA-256 is not the one that was written down (if it was) stops the build. Run as
#   cmake -DNAME=... -DIN=FILE [-DSHA256=...] -DHEADER=FILE.h -DOUT=FILE.c -P embed.cmake
file(SHA256 ${IN} found)
if(SHA256 AND NOT found STREQUAL SHA256)
  message(FATAL_ERROR "${IN}: SHA-256 ${found}, want ${SHA256}")
endif()
file(READ ${IN} hex HEX)
file(SIZE ${IN} size)
string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
file(WRITE ${OUT} "/* ${NAME}: made by cmake/embed.cmake. */\n"
     "#include \"${HEADER}\"\n\n"
     "const unsigned char ${NAME}[] = {\n${hex}0};\nconst size_t ${NAME}_size = ${size};\n")
