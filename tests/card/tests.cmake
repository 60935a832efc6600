# tools/gpu-pack and tools/gpu-check, without a card; and a test for one. (Included by
# tests/CMakeLists.txt, after static/tests.cmake, which looks for Python.)
if(Python3_FOUND AND PN_EMULATOR AND TARGET test_pool AND NOT PN_SANITIZE AND NOT PN_TSAN
   AND NOT PN_COVERAGE)
  add_test(NAME card COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/card/check_card ${CMAKE_BINARY_DIR})
  set_tests_properties(card PROPERTIES TIMEOUT 900)
endif()
if(TARGET pn_cuda AND PN_NCCL_INCLUDE) # with a stand-in for the library
  add_library(pn_standin_nccl MODULE card/standin_nccl.cc)
  set_target_properties(pn_standin_nccl PROPERTIES PREFIX "" OUTPUT_NAME libnccl SUFFIX .so.2
                        LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/standins
                        CXX_VISIBILITY_PRESET default)
  target_include_directories(pn_standin_nccl PRIVATE ${PN_NCCL_INCLUDE} ${CUDAToolkit_INCLUDE_DIRS})
  add_executable(test_nccl card/test_nccl.c)
  target_link_libraries(test_nccl PRIVATE pn_support)
  add_dependencies(test_nccl pn_standin_nccl)
  add_test(NAME test_nccl COMMAND test_nccl $<TARGET_FILE_DIR:pn_standin_nccl>)
  set_tests_properties(test_nccl PROPERTIES TIMEOUT 300 SKIP_RETURN_CODE 77)
endif()
if(TARGET pn_cuda) # emulator/test_mma.cu once more, by nvcc
  configure_file(emulator/test_mma.cu ${CMAKE_CURRENT_BINARY_DIR}/card/test_mma.cu COPYONLY)
  foreach(test test_mma_cuda test_mma_cuda_fp16)
    add_executable(${test} ${CMAKE_CURRENT_BINARY_DIR}/card/test_mma.cu)
    set_target_properties(${test} PROPERTIES CUDA_STANDARD 17 CUDA_RUNTIME_LIBRARY Static)
    target_compile_options(${test} PRIVATE --diag-suppress=177)
    target_link_libraries(${test} PRIVATE pn_kernels PkgConfig::CMOCKA)
    add_test(NAME ${test} COMMAND ${test})
    set_tests_properties(${test} PROPERTIES TIMEOUT 300 SKIP_RETURN_CODE 77)
  endforeach()
  target_compile_definitions(test_mma_cuda_fp16 PRIVATE PN_PRECISION=fp16 PN_NARROW=2)
  get_target_property(architectures pn_cuda_fp16 CUDA_ARCHITECTURES)
  set_target_properties(test_mma_cuda_fp16 PROPERTIES CUDA_ARCHITECTURES "${architectures}")
endif()
