/* api.h -- what a user of the library may call.
 *
 * A header is public if it has PN_API_BEGIN behind its includes and PN_API_END at its end: what it
 * declares is C, also for C++, and the shared library exports it. All else is compiled with
 * -fvisibility=hidden and stays inside. Public headers, and no others, are installed
 * (cmake/install.cmake). */
#ifndef PN_API_H
#define PN_API_H

#ifdef __cplusplus
#define PN_API_BEGIN \
    extern "C" {     \
    _Pragma("GCC visibility push(default)")
#define PN_API_END                \
    _Pragma("GCC visibility pop") \
    }
#else
#define PN_API_BEGIN _Pragma("GCC visibility push(default)")
#define PN_API_END _Pragma("GCC visibility pop")
#endif

#endif
