# The CUDA backend, where nvcc is: kernels/cuda/*.cu for every architecture this toolkit knows of
# those we support, PTX of the newest for cards to come; the runtime linked statically, so that the
# program starts on machines without a driver.
if(NOT CMAKE_CUDA_COMPILER)
  find_program(nvcc nvcc HINTS ENV CUDA_PATH PATHS /usr/local/cuda/bin)
  if(nvcc)
    set(CMAKE_CUDA_COMPILER ${nvcc})
  endif()
endif()
if(NOT CMAKE_CUDA_COMPILER)
  if(PN_CUDA STREQUAL ON)
    message(FATAL_ERROR "PN_CUDA is ON and there is no nvcc; say where: -DCMAKE_CUDA_COMPILER=...")
  endif()
  return()
endif()

# C++17 in .cu files, and what the driver is asked for, are of CUDA 12.
execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --version OUTPUT_VARIABLE said ERROR_QUIET)
if(said MATCHES "release ([0-9]+\\.[0-9]+)" AND CMAKE_MATCH_1 VERSION_LESS 12.0)
  set(old "${CMAKE_CUDA_COMPILER} is of CUDA ${CMAKE_MATCH_1}, want 12.0 or later")
  if(PN_CUDA STREQUAL ON)
    message(FATAL_ERROR "${old}; say where another is: -DCMAKE_CUDA_COMPILER=...")
  endif()
  message(WARNING "${old}: built without the CUDA backend")
  return()
endif()

# An nvcc that cannot build (no host compiler that it knows, half an installation) must not break a
# build for the CPU that never asked for it.
if(PN_CUDA STREQUAL AUTO AND NOT PN_NVCC_WORKS STREQUAL CMAKE_CUDA_COMPILER)
  set(probe ${CMAKE_BINARY_DIR}/CMakeFiles/pn_nvcc)
  file(WRITE ${probe}.cu "__global__ void nothing() {}\nint main() { nothing<<<1, 1>>>(); }\n")
  execute_process(COMMAND ${CMAKE_CUDA_COMPILER} -c ${probe}.cu -o ${probe}.o
                  RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
  if(failed)
    message(WARNING "${CMAKE_CUDA_COMPILER} compiles nothing: built without the CUDA backend "
                    "(PN_CUDA=ON stops here and shows why, PN_CUDA=OFF does not try)")
    return()
  endif()
  set(PN_NVCC_WORKS ${CMAKE_CUDA_COMPILER} CACHE INTERNAL "the nvcc that was tried")
endif()

if(NOT CMAKE_CUDA_ARCHITECTURES)
  execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-code OUTPUT_VARIABLE known ERROR_QUIET)
  set(architectures)
  foreach(wanted 75 80 86 89 90 100 120)
    if(known MATCHES "sm_${wanted}")
      list(APPEND architectures ${wanted}-real)
      set(newest ${wanted})
    endif()
  endforeach()
  set(CMAKE_CUDA_ARCHITECTURES ${architectures} ${newest}-virtual
      CACHE STRING "compute capabilities")
endif()
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)

add_library(pn_cuda_flags INTERFACE)
target_compile_options(pn_cuda_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CUDA>:-lineinfo --diag-suppress=177
  -Xcompiler=-Wall,-Wextra,-Wno-unused-function>)
target_include_directories(pn_cuda_flags INTERFACE ${CMAKE_SOURCE_DIR}
                                                   ${CUDAToolkit_INCLUDE_DIRS})
add_library(pn_cuda STATIC ${cuda_ops} kernels/cuda/memory.cc)
pn_add_precisions(pn_cuda pn_cuda_flags tf32 bf16 fp16)
set_target_properties(pn_cuda pn_cuda_tf32 pn_cuda_bf16 pn_cuda_fp16 PROPERTIES
                      CUDA_STANDARD 17 CUDA_RUNTIME_LIBRARY Static)
# fp16 is for cards without bf16. Later ones make their own code of its PTX, once; they do not
# launch it before the launch in front of it has ended, as what is compiled for them may be.
if("75-real" IN_LIST CMAKE_CUDA_ARCHITECTURES)
  set_target_properties(pn_cuda_fp16 PROPERTIES CUDA_ARCHITECTURES 75)
  target_compile_definitions(pn_cuda_fp16 PRIVATE PN_OVERLAPS=0)
endif()
target_link_libraries(pn_cuda PUBLIC CUDA::cudart_static pn_contract PRIVATE pn_cuda_flags)
# Sums from card to card, where NCCL's header is; the library itself is looked up at run time.
find_path(PN_NCCL_INCLUDE nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
if(PN_NCCL_INCLUDE)
  target_sources(pn_cuda PRIVATE kernels/cuda/nccl.cc)
  target_include_directories(pn_cuda PRIVATE ${PN_NCCL_INCLUDE})
  target_compile_definitions(pn_kernels PRIVATE PN_HAVE_NCCL)
  target_link_libraries(pn_cuda PUBLIC ${CMAKE_DL_LIBS})
endif()
target_link_libraries(pn_kernels PUBLIC pn_cuda)
target_compile_definitions(pn_kernels PRIVATE PN_HAVE_CUDA)
