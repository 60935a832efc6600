# Tests of the emulator itself, in its three builds; and of the kernels, by pn_hooked_test: a test
# program once more, with hooks. (Included by tests/CMakeLists.txt.)
function(pn_emulator_test name source)
  add_executable(${name} emulator/${source})
  target_link_libraries(${name} PRIVATE pn_emulator_flags PkgConfig::CMOCKA)
  target_compile_options(${name} PRIVATE ${ARGN})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 300)
endfunction()

pn_emulator_test(test_emulator test_emulator.cc)
target_link_libraries(test_emulator PRIVATE pn_emulator)

set_source_files_properties(emulator/test_mma.cu PROPERTIES LANGUAGE CXX)
pn_emulator_test(test_mma test_mma.cu)
pn_emulator_test(test_mma_tf32 test_mma.cu -DPN_PRECISION=tf32)
pn_emulator_test(test_mma_fp16 test_mma.cu -DPN_PRECISION=fp16 -DPN_NARROW=2)
foreach(test test_mma test_mma_fp16 test_mma_tf32)
  target_link_libraries(${test} PRIVATE pn_emulator)
endforeach()

if(NOT PN_SANITIZE)
  # A program of its own objects, so that all of it has the sanitizers.
  set(sanitizers -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=all)
  pn_emulator_test(test_emulator_sanitized test_emulator.cc ${sanitizers} -O1)
  target_sources(test_emulator_sanitized PRIVATE ${PN_EMULATOR_SOURCES}
                                                 ${CMAKE_SOURCE_DIR}/kernels/status.c
                                                 ${CMAKE_SOURCE_DIR}/kernels/utf8.c)
  target_link_options(test_emulator_sanitized PRIVATE ${sanitizers})
  target_link_libraries(test_emulator_sanitized PRIVATE Threads::Threads)
endif()

if(TARGET pn_hooks)
  pn_emulator_test(test_emulator_hooked test_emulator.cc -fsanitize=thread -O1 -g)
  target_sources(test_emulator_hooked PRIVATE $<TARGET_OBJECTS:pn_hooks>)
  target_link_libraries(test_emulator_hooked PRIVATE pn_contract ${CMAKE_DL_LIBS})
  pn_emulator_test(test_mma_hooked test_mma.cu -fsanitize=thread -O1 -g)
  target_sources(test_mma_hooked PRIVATE $<TARGET_OBJECTS:pn_hooks>)
  target_link_libraries(test_mma_hooked PRIVATE pn_contract ${CMAKE_DL_LIBS})
endif()

# What the kernels ask of a card must not grow unseen: counts.csv is what was recorded,
# counts_75.csv of a card without their tensor cores, the others of a precision.
if(TARGET pn_counts)
  pn_emulator_test(test_counts test_counts.cc -fsanitize=thread -O1)
  target_sources(test_counts PRIVATE $<TARGET_OBJECTS:pn_counts>)
  target_link_libraries(test_counts PRIVATE pn_emulator)
  add_executable(count_kernels emulator/count_kernels.c)
  target_link_libraries(count_kernels PRIVATE pn_emulated_counts pn_search pn_cases)
  add_test(NAME count_kernels
           COMMAND count_kernels --check ${CMAKE_CURRENT_SOURCE_DIR}/emulator/counts.csv)
  set_tests_properties(count_kernels PROPERTIES TIMEOUT 600)
  add_test(NAME count_kernels_75 COMMAND count_kernels --check
                                         ${CMAKE_CURRENT_SOURCE_DIR}/emulator/counts_75.csv)
  set_tests_properties(count_kernels_75 PROPERTIES TIMEOUT 600 ENVIRONMENT PN_EMULATOR_CARD=75)
  foreach(precision tf32 bf16)
    add_test(NAME count_kernels_${precision} COMMAND count_kernels --precision ${precision}
             --check ${CMAKE_CURRENT_SOURCE_DIR}/emulator/counts_${precision}.csv)
    set_tests_properties(count_kernels_${precision} PROPERTIES TIMEOUT 600)
  endforeach()
endif()
if(Python3_FOUND)
  add_test(NAME predict_kernels
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/bench/predict_kernels --self-test)
endif()

# pn_hooked_test(test_pool): program and test test_pool_hooked, which must not find a race.
function(pn_hooked_test name)
  if(TARGET ${name} AND TARGET pn_emulated_hooks)
    add_executable(${name}_hooked ${name}.c)
    target_link_libraries(${name}_hooked PRIVATE pn_emulated_hooks pn_support PkgConfig::JANSSON
                                                 ZLIB::ZLIB)
    target_compile_definitions(${name}_hooked PRIVATE PN_HOOKED)
    add_test(NAME ${name}_hooked COMMAND ${name}_hooked
             WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
    set_tests_properties(${name}_hooked PROPERTIES TIMEOUT 900
      ENVIRONMENT "PN_TEST_BACKEND=emulated;PN_TEST_ORDERS=1;OMP_WAIT_POLICY=passive")
  endif()
endfunction()

# Jobs cut otherwise, as a card may want it (kernels/cuts.h).
if(NOT PN_SANITIZE AND NOT PN_TSAN)
  foreach(op stage conv1x1 pool)
    add_test(NAME test_${op}_cuts COMMAND test_${op} WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
    set_tests_properties(test_${op}_cuts PROPERTIES TIMEOUT 300 ENVIRONMENT
      "PARSEC_CUTS=blocks=16 halves=0 cost=0;PN_TEST_BACKEND=emulated;PN_TEST_ORDERS=1")
  endforeach()
endif()

# The kernels of a card whose tensor cores they do not use, where others do; and which fp16 is for.
if(NOT PN_SANITIZE AND NOT PN_TSAN)
  foreach(op stage conv1x1)
    add_test(NAME test_${op}_75 COMMAND test_${op} WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
    set_tests_properties(test_${op}_75 PROPERTIES TIMEOUT 300 ENVIRONMENT
      "PN_EMULATOR_CARD=75;PN_TEST_BACKEND=emulated;PN_TEST_ORDERS=1;OMP_WAIT_POLICY=passive")
    add_test(NAME test_${op}_75_fp16 COMMAND test_${op}
             WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
    set_tests_properties(test_${op}_75_fp16 PROPERTIES TIMEOUT 300 ENVIRONMENT
      "PN_EMULATOR_CARD=75;PN_TEST_BACKEND=emulated-fp16;PN_TEST_ORDERS=1;OMP_WAIT_POLICY=passive")
  endforeach()
endif()
