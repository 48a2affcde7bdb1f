/** A name that can be a region of AWS, and nothing that leads to another host. */
export const regionPattern = /^[a-z]{2,8}(-[a-z]{2,16}){1,3}-\d{1,2}$/;

/** The domain below which a region's services live. */
export function awsDomain(region: string): string {
  if (region.startsWith("cn-")) return "amazonaws.com.cn";
  if (region.startsWith("us-isob-")) return "sc2s.sgov.gov";
  if (region.startsWith("us-iso-")) return "c2s.ic.gov";
  return "amazonaws.com";
}
