# The examples, in every build; and what is installed, where something is (cmake/install.cmake).
# (Included by tests/CMakeLists.txt.)
foreach(example fused_op search)
  add_executable(example_${example} ${CMAKE_SOURCE_DIR}/examples/${example}.c)
  target_link_libraries(example_${example} PRIVATE pn_search)
  add_test(NAME example_${example} COMMAND example_${example})
  set_tests_properties(example_${example} PROPERTIES TIMEOUT 300 ENVIRONMENT "${environment}")
endforeach()

if(TARGET pn_shared)
  string(TOLOWER "${CMAKE_BUILD_TYPE}" build_type)
  add_test(NAME install COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/install/check_install
                                ${CMAKE_BINARY_DIR})
  set_tests_properties(install PROPERTIES TIMEOUT 300 ENVIRONMENT
    "CMAKE=${CMAKE_COMMAND};CC=${CMAKE_C_COMPILER};CXX=${CMAKE_CXX_COMPILER};\
PYTHON=${Python3_EXECUTABLE};VERSION=${PROJECT_VERSION};LIBDIR=${CMAKE_INSTALL_LIBDIR};\
BUILD_TYPE=${build_type}")
  add_test(NAME load_in_pytorch COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/install/check_pytorch
                                        $<TARGET_FILE:parsec-nas>)
  set_tests_properties(load_in_pytorch PROPERTIES TIMEOUT 300 SKIP_RETURN_CODE 77
                                                  ENVIRONMENT "${environment}")
endif()
