/** Functions of extensions that PostgreSQL ships, by pg_depend of version 15, and of two that others make. */
interface ExtensionFunctions {
  /** Of which no variant is volatile. */
  steady: ReadonlySet<string>;
  volatile: ReadonlySet<string>;
  /** How all others begin, none of which changes anything. */
  prefix?: string;
}

const words = (text: string): ReadonlySet<string> => new Set(text.trim().split(/\s+/).filter(Boolean));

export const EXTENSIONS: ReadonlyMap<string, ExtensionFunctions> = new Map([
  entry(
    "pgcrypto",
    `
      armor crypt dearmor decrypt decrypt_iv digest encrypt encrypt_iv hmac pgp_armor_headers pgp_key_id
      pgp_pub_decrypt pgp_pub_decrypt_bytea pgp_sym_decrypt pgp_sym_decrypt_bytea
    `,
    `
      gen_random_bytes gen_random_uuid gen_salt pgp_pub_encrypt pgp_pub_encrypt_bytea pgp_sym_encrypt
      pgp_sym_encrypt_bytea
    `,
  ),
  entry(
    "uuid-ossp",
    `uuid_generate_v3 uuid_generate_v5 uuid_nil uuid_ns_dns uuid_ns_oid uuid_ns_url uuid_ns_x500`,
    `uuid_generate_v1 uuid_generate_v1mc uuid_generate_v4`,
  ),
  entry(
    "citext",
    `
      citext citext_cmp citext_eq citext_ge citext_gt citext_hash citext_hash_extended citext_larger citext_le
      citext_lt citext_ne citext_pattern_cmp citext_pattern_ge citext_pattern_gt citext_pattern_le
      citext_pattern_lt citext_smaller citextsend max min regexp_match regexp_matches regexp_replace
      regexp_split_to_array regexp_split_to_table replace split_part strpos texticlike texticnlike
      texticregexeq texticregexne translate
    `,
    ``,
  ),
  entry(
    "hstore",
    `
      akeys avals defined delete each exist exists_all exists_any fetchval hs_concat hs_contained hs_contains
      hstore hstore_cmp hstore_eq hstore_ge hstore_gt hstore_hash hstore_hash_extended hstore_le hstore_lt
      hstore_ne hstore_send hstore_to_array hstore_to_json hstore_to_json_loose hstore_to_jsonb
      hstore_to_jsonb_loose hstore_to_matrix hstore_version_diag isdefined isexists populate_record skeys
      slice slice_array svals tconvert
    `,
    ``,
  ),
  entry(
    "ltree",
    `
      _lt_q_regex _lt_q_rregex _ltq_extract_regex _ltq_regex _ltq_rregex _ltree_extract_isparent
      _ltree_extract_risparent _ltree_isparent _ltree_r_isparent _ltree_r_risparent _ltree_risparent
      _ltxtq_exec _ltxtq_extract_exec _ltxtq_rexec index lca lquery_send lt_q_regex lt_q_rregex ltq_regex
      ltq_rregex ltree2text ltree_addltree ltree_addtext ltree_cmp ltree_eq ltree_ge ltree_gt ltree_isparent
      ltree_le ltree_lt ltree_ne ltree_risparent ltree_send ltree_textadd ltxtq_exec ltxtq_rexec ltxtq_send
      nlevel subltree subpath text2ltree
    `,
    ``,
  ),
  entry(
    "pg_trgm",
    `
      show_limit show_trgm similarity similarity_dist similarity_op strict_word_similarity
      strict_word_similarity_commutator_op strict_word_similarity_dist_commutator_op
      strict_word_similarity_dist_op strict_word_similarity_op word_similarity word_similarity_commutator_op
      word_similarity_dist_commutator_op word_similarity_dist_op word_similarity_op
    `,
    `set_limit`,
  ),
  entry("unaccent", `unaccent`, ``),
  entry(
    "fuzzystrmatch",
    `difference dmetaphone dmetaphone_alt levenshtein levenshtein_less_equal metaphone soundex text_soundex`,
    ``,
  ),
  entry(
    "intarray",
    `
      _int_contained _int_contains _int_different _int_inter _int_overlap _int_same _int_union boolop icount
      idx intarray_del_elem intarray_push_array intarray_push_elem intset intset_subtract intset_union_elem
      querytree rboolop sort sort_asc sort_desc subarray uniq
    `,
    ``,
  ),
  entry(
    "earthdistance",
    `earth earth_box earth_distance gc_to_sec geo_distance latitude ll_to_earth longitude sec_to_gc`,
    ``,
  ),
  entry(
    "vector",
    `
      vector halfvec sparsevec l2_distance l1_distance inner_product cosine_distance hamming_distance
      jaccard_distance vector_dims vector_norm l2_norm l2_normalize binary_quantize subvector
    `,
  ),
  entry("postgis", `geometry geography box2d box3d geometrytype`, `st_generatepoints`, "st_"),
]);

function entry(name: string, steady: string, volatile = "", prefix?: string): [string, ExtensionFunctions] {
  return [name, { steady: words(steady), volatile: words(volatile), ...(prefix !== undefined && { prefix }) }];
}

/**
 * Whether a function is one of an extension, and how it behaves.
 * @param isMade whether the extension is in the database
 */
export function extensionFunction(
  name: string,
  isMade: (extension: string) => boolean,
): "steady" | "volatile" | undefined {
  for (const [extension, { steady, volatile, prefix }] of EXTENSIONS) {
    const has = steady.has(name) || volatile.has(name) || (prefix !== undefined && name.startsWith(prefix));
    if (has && isMade(extension)) return volatile.has(name) ? "volatile" : "steady";
  }
  return undefined;
}
