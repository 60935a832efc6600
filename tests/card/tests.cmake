# tools/gpu-pack and tools/gpu-check, without a card. (Included by tests/CMakeLists.txt, after
# static/tests.cmake, which looks for Python.)
if(Python3_FOUND AND PN_EMULATOR AND TARGET test_pool AND NOT PN_SANITIZE AND NOT PN_TSAN
   AND NOT PN_COVERAGE)
  add_test(NAME card COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/card/check_card ${CMAKE_BINARY_DIR})
  set_tests_properties(card PROPERTIES TIMEOUT 900)
endif()
