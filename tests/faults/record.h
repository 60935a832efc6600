/* record.h -- the file of PN_RECORD: for each change a pn_record, then its names (each with a final
 * zero), then its data. Files and directories are known by their inode, since names change. */
#ifndef PN_RECORD_H
#define PN_RECORD_H

#include <stdint.h>

enum pn_record_kind {
    PN_DID_CREATE,   /* directory, name, inode */
    PN_DID_MKDIR,    /* directory, name, inode */
    PN_DID_UNLINK,   /* directory, name (of a directory too) */
    PN_DID_RENAME,   /* directory, name; other directory, second name; inode */
    PN_DID_WRITE,    /* inode, offset, size, data */
    PN_DID_TRUNCATE, /* inode, offset: its new size */
    PN_DID_SYNC,     /* inode, of a file or a directory */
    PN_DID_OTHER     /* name: a call that nobody taught us */
};

typedef struct pn_record {
    uint32_t kind, names; /* bytes of names */
    uint64_t device, inode;
    uint64_t directory, other;
    int64_t offset;
    uint64_t size; /* bytes of data that follow */
} pn_record;

#endif
