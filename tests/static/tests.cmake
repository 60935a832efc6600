# What can be said without running the program. (Included by tests/CMakeLists.txt.)
find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND AND NOT PN_SANITIZE AND NOT PN_TSAN)
  set(check ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/static/check_sources)
  add_test(NAME check_sources COMMAND ${check})
  add_test(NAME check_sources_self COMMAND ${check} --self-test)
  set_tests_properties(check_sources PROPERTIES SKIP_RETURN_CODE 77) # no git, no list of sources
endif()

# An nvcc that compiles nothing leaves a build for the CPU as it is.
find_program(PN_FALSE false REQUIRED)
add_test(NAME configure_broken_nvcc
         COMMAND ${CMAKE_COMMAND} -S ${CMAKE_SOURCE_DIR} -B ${CMAKE_CURRENT_BINARY_DIR}/broken_nvcc
                 -G Ninja -DCMAKE_CUDA_COMPILER=${PN_FALSE} -DPN_CUDA=AUTO -DPN_EMULATOR=OFF
                 -DBUILD_TESTING=OFF)
set_tests_properties(configure_broken_nvcc PROPERTIES
                     PASS_REGULAR_EXPRESSION "compiles nothing.*Build files have been written")

# Nor does one that is too old, but for whoever wants it.
set(old ${CMAKE_CURRENT_BINARY_DIR}/old_nvcc)
file(WRITE ${old} "#!/bin/sh\necho 'Cuda compilation tools, release 11.8, V11.8.89'\n")
file(CHMOD ${old} PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
foreach(wanted AUTO ON)
  add_test(NAME configure_old_nvcc_${wanted}
           COMMAND ${CMAKE_COMMAND} -S ${CMAKE_SOURCE_DIR} -B ${old}_${wanted} -G Ninja
                   -DCMAKE_CUDA_COMPILER=${old} -DPN_CUDA=${wanted} -DPN_EMULATOR=OFF
                   -DBUILD_TESTING=OFF)
endforeach()
set_tests_properties(configure_old_nvcc_AUTO PROPERTIES PASS_REGULAR_EXPRESSION
                     "CUDA 11.8, want[ \n]+12.0.*Build files have been written")
set_tests_properties(configure_old_nvcc_ON PROPERTIES PASS_REGULAR_EXPRESSION
                     "CUDA 11.8, want[ \n]+12.0 or later; say.*Configuring incomplete")

# What nvcc makes of the kernels, which needs no card.
if(Python3_FOUND AND NOT PN_SANITIZE AND NOT PN_TSAN)
  set(check ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/static/check_kernels)
  if(CMAKE_CUDA_COMPILER)
    list(APPEND check --nvcc ${CMAKE_CUDA_COMPILER})
  endif()
  add_test(NAME check_kernels COMMAND ${check})
  add_test(NAME check_kernels_self COMMAND ${check} --self-test)
  set_tests_properties(check_kernels check_kernels_self PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 900)
  add_test(NAME count_instructions_self
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/static/count_instructions
                   --self-test)
endif()
