# A libFuzzer target per loader, and what seeds them. The libraries carry the counters (PN_FUZZ in
# the main CMakeLists.txt), and every call that can fail goes through faults.c.
set(faults)
foreach(call malloc calloc realloc aligned_alloc strdup strndup realpath open openat stat fstat
             fstatat read readdir fdopendir lseek write fsync ftruncate fchmod renameat unlinkat
             gzopen gzread gzerror)
  list(APPEND faults -Wl,--wrap=${call})
endforeach()

add_library(pn_fuzz STATIC fuzz/harness.c fuzz/faults.c fuzz/mutate.c fuzz/tiny.c fuzz/fields.c
                           fuzz/from.c)
target_link_libraries(pn_fuzz PUBLIC pn_search PkgConfig::JANSSON OpenMP::OpenMP_C)

add_executable(make_seeds fuzz/make_seeds.c)
target_link_libraries(make_seeds PRIVATE pn_fuzz)
target_link_options(make_seeds PRIVATE ${faults})
set(seeds ${CMAKE_CURRENT_BINARY_DIR}/seeds)
add_test(NAME make_seeds COMMAND make_seeds ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/seeds ${seeds})
set_tests_properties(make_seeds PROPERTIES FIXTURES_SETUP seeds TIMEOUT 120)

file(GLOB targets CONFIGURE_DEPENDS fuzz/fuzz_*.c)
foreach(source IN LISTS targets)
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer ${faults})
  target_link_libraries(${name} PRIVATE pn_fuzz)
  add_test(NAME ${name}
           COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/run $<TARGET_FILE:${name}> ${seeds})
  set_tests_properties(${name} PROPERTIES FIXTURES_REQUIRED seeds TIMEOUT 14400)
endforeach()
